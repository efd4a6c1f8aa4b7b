"""Label scores from the grid's YAML to the results table."""

import math

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.metrics import auroc, average_precision, expected_calibration_error, log_loss
from mmsoc_ray.tasks import get_task

SCORED = ("auroc", "average_precision", "log_loss", "ece")


@pytest.fixture(scope="module")
def scored_run(toy, toy_run, mmsoc, tmp_path_factory):
    """The toy run once more, with the labels of humor scored."""
    folder = tmp_path_factory.mktemp("scored")
    grid = toy.grid(folder / "grid.yaml")
    grid.write_text(grid.read_text().replace("humor: {max_new_tokens: 3}", "humor: {max_new_tokens: 3, scored: true}"))
    run = type(toy_run)(folder / "out", "toy-scored", grid)
    assert mmsoc(*run.arguments) == 0
    return run


def predictions(run, model: str) -> list[dict[str, object]]:
    (folder,) = run.folder.glob(f"model={model}/config=c*/predictions")
    return pq.read_table(folder).to_pylist()


def metrics(run, model: str, setting: str, task: str) -> dict[str, float]:
    rows = pq.read_table(run.root / "results").to_pylist()
    chosen = [row for row in rows if (row["model"], row["setting"], row["task"]) == (model, setting, task)]
    return {row["metric"]: math.nan if row["value"] is None else row["value"] for row in chosen}


@pytest.mark.parametrize("model", ["tiny", "majority", "random"])
def test_every_answer_of_a_scored_task_has_its_labels_probabilities(scored_run, model):
    rows = [row for row in predictions(scored_run, model) if row["error"] is None]
    for row in rows:
        if row["task"] != "humor":
            assert row["label_scores"] is row["score"] is None
            continue
        scores = dict(row["label_scores"])
        assert set(scores) == set(get_task("humor").labels)
        assert sum(scores.values()) == pytest.approx(1)
        assert row["score"] == scores["humorous"]
    assert {row["task"] for row in rows} == {"humor", "sarcasm", "misinformation"}


def test_a_models_scores_differ_from_post_to_post(scored_run):
    scores = {row["score"] for row in predictions(scored_run, "tiny") if row["score"] is not None}
    assert len(scores) > 5


@pytest.mark.parametrize("setting", ["zero_shot", "text_only"])
def test_the_table_holds_what_the_metric_functions_give(scored_run, setting):
    asked = [row for row in predictions(scored_run, "tiny") if (row["setting"], row["task"]) == (setting, "humor")]
    labels = get_task("humor").labels
    true = [row["reference"][0] for row in asked]
    positive = [label == "humorous" for label in true]
    score = [math.nan if row["score"] is None else row["score"] for row in asked]
    shares = [[dict(row["label_scores"] or {}).get(label, math.nan) for label in labels] for row in asked]
    assert any(math.isnan(value) for value in score)
    expected = {
        "auroc": auroc(positive, score),
        "average_precision": average_precision(positive, score),
        "log_loss": log_loss(true, shares, labels),
        "ece": expected_calibration_error(true, shares, labels),
    }
    found = metrics(scored_run, "tiny", setting, "humor")
    assert {name: found[name] for name in SCORED} == pytest.approx(expected, abs=1e-12)


def test_a_constant_forecast_ranks_by_chance(scored_run):
    assert metrics(scored_run, "majority", "zero_shot", "humor")["auroc"] == 0.5


def test_a_task_that_is_not_scored_has_no_such_metric(scored_run):
    assert not set(SCORED) & set(metrics(scored_run, "tiny", "zero_shot", "sarcasm"))


def test_scoring_leaves_answers_and_the_keys_of_other_tasks_as_they_are(scored_run, toy_run):
    def told(run) -> dict[tuple[object, ...], tuple[object, object]]:
        identity = ("setting", "task", "post_key")
        return {tuple(r[n] for n in identity): (r["row_key"], r["output"]) for r in predictions(run, "tiny")}

    scored, plain = told(scored_run), told(toy_run)
    assert {place: output for place, (_, output) in scored.items()} == {p: o for p, (_, o) in plain.items()}
    same = {place[1] for place, (key, _) in scored.items() if key == plain[place][0]}
    assert same == {"sarcasm", "misinformation"}
