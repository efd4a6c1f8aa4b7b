import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import Post, open_storage, write_split
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid import RunFolder, RunProgress, execute, open_run, plan_grid
from mmsoc_ray.results.cells import CellRows, score_cell
from mmsoc_ray.results.schema import PREDICTION_SCHEMA, RESULT_SCHEMA
from mmsoc_ray.tasks import get_task

READ_WITH_PYARROW_ALONE = """
import json, sys
import pyarrow.parquet as pq
root, predictions = sys.argv[1:]
results = pq.read_table(root + "/results")
rows = pq.read_table(predictions)
assert not [name for name in sys.modules if name.startswith("mmsoc_ray")]
print(json.dumps({"results": results.column_names, "predictions": rows.column_names, "rows": rows.num_rows}))
print(json.dumps([str(value) for value in set(results.column("run_id").to_pylist())]))
"""


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of every file."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns) for file in found}


def predictions_of(run, model: str) -> Path:
    (folder,) = run.folder.glob(f"model={model}/config=c*/predictions")
    return folder


def cells(run) -> dict[tuple[str, str, str], dict[str, object]]:
    """Return the rows of the metric that every cell has, by model, setting and task."""
    rows = pq.read_table(run.root / "results").to_pylist()
    return {(row["model"], row["setting"], row["task"]): row for row in rows if row["metric"] == "success_rate"}


def test_pyarrow_alone_reads_results_and_predictions_by_the_contracts_columns(toy_run):
    ended = subprocess.run(
        [sys.executable, "-c", READ_WITH_PYARROW_ALONE, str(toy_run.root), str(predictions_of(toy_run, "tiny"))],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    read, run_ids = map(json.loads, ended.stdout.splitlines())
    assert sorted(read["results"]) == sorted(RESULT_SCHEMA.names)
    assert set(PREDICTION_SCHEMA.names) <= set(read["predictions"])
    assert read["rows"] == 50
    assert run_ids == ["toy-1"]


def test_every_row_of_the_plan_stands_once(toy_run):
    rows = []
    for model in ("majority", "random", "tiny"):
        rows += pads.dataset(predictions_of(toy_run, model), partitioning=None).to_table().to_pylist()
    identities = {(r["model"], r["adapter"], r["setting"], r["task"], r["post_key"], r["round"]) for r in rows}
    assert len(rows) == len(identities) == 100
    assert {r["schema"] for r in rows if "schema" in r} == set()
    assert all((r["output"] is None) == (r["error"] is not None) for r in rows)


def test_a_cell_is_scored_as_by_hand(toy_run):
    table = pq.read_table(predictions_of(toy_run, "tiny"))
    rows = [r for r in table.to_pylist() if (r["setting"], r["task"]) == ("text_only", "humor")]
    columns = {
        name: [row[name] for row in rows] for name in ("post_key", "output", "error", "reference", "output_tokens")
    }
    scores = score_cell(get_task("humor"), CellRows(**columns), identity="tiny/none/text_only/humor/toy_memes/test")
    expected = {m.name: (m.value, m.ci_low, m.ci_high) for m in scores.metrics}
    found = {
        row["metric"]: (row["value"], row["ci_low"], row["ci_high"])
        for row in pq.read_table(toy_run.root / "results").to_pylist()
        if (row["model"], row["setting"], row["task"]) == ("tiny", "text_only", "humor")
    }
    assert set(found) == set(expected)
    for name, values in found.items():
        assert values == tuple(None if value != value else value for value in expected[name]), name


def test_the_majority_baseline_is_right_as_often_as_its_label(toy_run, toy):
    rows = pq.read_table(toy_run.root / "results").to_pylist()
    (accuracy,) = [
        r["value"] for r in rows if (r["model"], r["task"], r["metric"]) == ("majority", "humor", "accuracy")
    ]
    assert accuracy == sum(post.targets["humor"] == ("humorous",) for post in toy.memes) / 10


def test_bad_posts_are_rows_with_an_error_and_show_in_n_failed(toy_run):
    counts = {key: (row["n"], row["n_failed"]) for key, row in cells(toy_run).items() if key[0] == "tiny"}
    # m2, m3, m4 cannot be shown; the text of m5 is longer than the tiny model's context.
    assert counts == {
        ("tiny", "zero_shot", "humor"): (10, 3),
        ("tiny", "zero_shot", "sarcasm"): (10, 3),
        ("tiny", "zero_shot", "misinformation"): (5, 0),
        ("tiny", "text_only", "humor"): (10, 1),
        ("tiny", "text_only", "sarcasm"): (10, 1),
        ("tiny", "text_only", "misinformation"): (5, 0),
    }
    assert {row["n_failed"] for key, row in cells(toy_run).items() if key[0] != "tiny"} == {0}


def test_two_posts_with_the_same_content_keep_their_rows_and_share_answer_and_key(toy_run):
    rows = [r for r in pq.read_table(predictions_of(toy_run, "tiny")).to_pylist() if r["sample_id"] in ("m0", "m1")]
    assert len(rows) == 8
    answers = {(r["setting"], r["task"], r["row_key"], r["output"]) for r in rows}
    assert len(answers) == 4


def test_a_run_leaves_seal_manifest_cells_and_no_temporary_file(toy_run):
    found = set(files(toy_run.root))
    assert {"manifests/toy-1.json", "results/run_id=toy-1/part-0.parquet", "runs/toy-1/plan.json"} <= found
    assert len([name for name in found if name.endswith("_SUCCESS.json")]) == 3
    assert len([name for name in found if "/cells/" in name]) == 12
    assert not [name for name in found if ".tmp-" in name]
    assert all(name.endswith(".parquet") for name in found if name.startswith("results/"))
    manifest = json.loads((toy_run.root / "manifests/toy-1.json").read_text())
    assert (manifest["status"], manifest["cells"], manifest["incomplete"]) == ("complete", 12, {})


def test_a_rerun_calls_no_engine_and_touches_no_file(toy_run, mmsoc, capsys, monkeypatch):
    monkeypatch.setattr("mmsoc_ray.grid.stream.start_ray", lambda address: pytest.fail("Ray was started"))
    before = files(toy_run.root)
    assert mmsoc(*toy_run.arguments) == 0
    assert files(toy_run.root) == before
    shown = capsys.readouterr().out
    assert "Nothing was left to do: run 'toy-1' is complete. No engine was called." in shown
    assert "majority" in shown


@pytest.mark.parametrize(
    ("further", "difference"),
    [
        (("--limit", "3"), "limit: null -> 3"),
        (("--models", "majority,random"), "models.tiny: {"),
        (("--tasks", "humor"), "models.majority.datasets.toy_news: {"),
    ],
)
def test_the_same_id_with_other_options_is_refused_with_the_difference(toy_run, mmsoc, capsys, further, difference):
    before = files(toy_run.root)
    assert mmsoc(*toy_run.arguments, *further) == 2
    message = capsys.readouterr().err
    assert "run id 'toy-1'" in message
    assert difference in message
    assert files(toy_run.root) == before


def test_the_same_id_with_another_grid_is_refused_with_the_difference(toy, toy_run, mmsoc, capsys, tmp_path):
    changed = toy.grid(tmp_path / "toy.yaml")
    changed.write_text(changed.read_text().replace("humor: {max_new_tokens: 3}", "humor: {max_new_tokens: 4}"))
    assert mmsoc("run", changed, *toy_run.arguments[2:]) == 2
    assert "stands for another configuration" in capsys.readouterr().err


def test_other_resources_and_notes_are_the_same_run(toy, toy_run, mmsoc, tmp_path):
    changed = toy.grid(tmp_path / "toy.yaml")
    text = (
        changed.read_text()
        .replace("[Toy data.]", "[Other words.]")
        .replace("  majority:", "  majority: {resources: {actors: 3}}")
    )
    changed.write_text(text)
    assert mmsoc("run", changed, *toy_run.arguments[2:]) == 0


def test_a_deleted_unit_is_the_only_one_done_again(copy, mmsoc):
    before = files(copy.root)
    lost = predictions_of(copy, "majority") / "toy_memes-test-00000-00001.parquet"
    lost.unlink()
    assert mmsoc(*copy.arguments) == 0
    after = files(copy.root)
    sums = next(copy.folder.glob("model=majority/config=*/checksums.json"))
    changed = {str(file.relative_to(copy.root)) for file in (lost, sums)}
    assert {name for name in before if after[name][0] != before[name][0]} == changed
    # The manifest is withdrawn while the unit is answered, and then says again what it said.
    written = {name for name in before if after[name] != before[name]}
    assert written == changed | {f"manifests/{copy.run_id}.json"}
    assert not set(before) - set(after)
    (stats,) = (name for name in set(after) - set(before) if "/stats/" in name)
    attempts = [name.partition("/attempts/")[2] for name in set(after) - set(before) - {stats}]
    assert [name.split("/")[0] for name in attempts if "/try-" in name] == ["toy_memes-test-00000-00001"]
    assert all(attempts)


def test_a_lost_table_is_written_again_with_the_same_bytes(copy, mmsoc):
    before = files(copy.root)
    for name in ("results", "manifests"):
        shutil.rmtree(copy.root / name)
    shutil.rmtree(copy.folder / "cells")
    assert mmsoc(*copy.arguments) == 0
    assert {name: content for name, (content, _) in files(copy.root).items()} == {n: c for n, (c, _) in before.items()}


def test_a_damaged_unit_costs_its_cells_only_and_the_remedy_mends_it(copy, mmsoc, capsys):
    before = files(copy.root)
    damaged = predictions_of(copy, "majority") / "toy_news-test-00000-00000.parquet"
    damaged.write_bytes(damaged.read_bytes()[:200])
    shutil.rmtree(copy.root / "manifests")
    for seal in copy.folder.glob("model=majority/config=*/_SUCCESS.json"):
        seal.unlink()
    assert mmsoc(*copy.arguments) == 1
    message = capsys.readouterr().err
    assert f"{damaged}: cannot be read" in message
    assert "incomplete: majority/none/zero_shot/misinformation/toy_news/test has 1 of 5 posts" in message
    assert set(cells(copy)) == set(cells(copy)) - {("majority", "zero_shot", "misinformation")}
    assert len(cells(copy)) == 11
    damaged.unlink()
    assert mmsoc(*copy.arguments) == 0
    name = "results/run_id=toy-1/part-0.parquet"
    assert files(copy.root)[name][0] == before[name][0]


def test_a_label_that_the_task_does_not_know_costs_its_cell_only(toy, ray_session, mmsoc, capsys, tmp_path):
    data = open_storage(tmp_path / "data")
    for split in ("train", "test"):
        label = "hilarious" if split == "test" else "humorous"
        targets = {"humor": (label,), "sarcasm": ("sarcastic",)}
        write_split(data, "toy_memes", split, [Post("m1", "toy_memes", split, text="t", targets=targets)])
    grid = tmp_path / "grid.yaml"
    grid.write_text(f"name: g\ndata: {data.uri}\ndatasets: [toy_memes]\ntasks: [humor, sarcasm]\nmodels: [majority]\n")
    assert mmsoc("run", grid, "--output", tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert "incomplete: majority/none/zero_shot/humor/toy_memes/test" in message
    assert "['hilarious']" in message
    assert "humorous, not_humorous" in message
    assert {row["task"] for row in pq.read_table(tmp_path / "out" / "results").to_pylist()} == {"sarcasm"}


def test_a_model_that_breaks_leaves_the_others_whole(toy, ray_session, tmp_path, capsys):
    for name in ("gone", "torn"):
        shutil.copytree(toy.checkpoint, tmp_path / name)
    (weights,) = (tmp_path / "torn").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1000])
    models = "".join(f"  {name}: {{checkpoint: {tmp_path / name}}}\n" for name in ("gone", "torn")) + "  majority:"
    data = open_storage(toy.data)
    grid = load_grid(toy.grid(tmp_path / "grid.yaml", models=models))
    with RunProgress() as progress:
        run = open_run(plan_grid(grid, data, limit=2), data, open_storage(tmp_path / "out"), "r-1", progress.phase)
        shutil.rmtree(tmp_path / "gone")
        result = execute(run, progress)
    assert {(cell.cell.model, cell.found, cell.expected) for cell in result.incomplete} == {
        ("gone", 0, 2),
        ("torn", 0, 2),
    }
    assert len(result.incomplete) == 6
    assert {cell.cell.model for cell in result.cells if cell.complete} == {"majority"}
    message = capsys.readouterr().err
    assert "gone failed" in message
    assert "torn failed" in message
    assert not run.finished()
    rows = pq.read_table(tmp_path / "out" / "results").to_pylist()
    assert {row["model"] for row in rows} == {"majority"}
    manifest = json.loads((tmp_path / "out/manifests/r-1.json").read_text())
    assert manifest["status"] == "incomplete"
    assert len(manifest["incomplete"]) == 6


@pytest.mark.parametrize("run_id", ["../x", "..", "", "a/b", "a b", "a\nb", "2026", "x" * 81, ".hidden"])
def test_a_run_id_that_cannot_name_a_folder_is_refused(run_id):
    with pytest.raises(ConfigurationError, match="--run-id"):
        RunFolder(run_id)
