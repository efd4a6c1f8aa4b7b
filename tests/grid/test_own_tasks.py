"""A task in YAML on its way through a whole run."""

import json

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data import Post, open_storage, write_split

TASK = """\
name: toxicity
kind: classification
prompt: Is this post toxic? Answer 'Yes' or 'No'.
labels:
  toxic: {answer: "Yes"}
  civil: {answer: "No"}
positive: toxic
metrics: [accuracy]
"""
TOPICS = "name: topics\nkind: tagging\nprompt: Which topics?\n"


@pytest.fixture
def grid(toy, tmp_path):
    """A grid of two tasks of one's own over six posts."""
    for split in ("train", "test"):
        posts = [
            Post(f"p{at}", "posts", split, text=f"text {at}", targets={
                "toxicity": ("toxic" if at else "civil",), "topics": ("cats", "dogs")})
            for at in range(3)
        ]  # fmt: skip
        write_split(open_storage(tmp_path / "data"), "posts", split, posts)
    (tmp_path / "toxicity.yaml").write_text(TASK)
    (tmp_path / "topics.yaml").write_text(TOPICS)
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        f"name: own\ndata: {tmp_path}/data\ndatasets: [posts]\n"
        "tasks:\n  toxicity: {file: toxicity.yaml}\n  topics: {file: topics.yaml}\n"
        f"models:\n  majority:\n  tiny: {{checkpoint: {toy.checkpoint}, settings: [text_only, few_shot_2]}}\n"
    )
    return grid


def test_a_task_of_ones_own_is_asked_read_and_scored_on_the_workers(grid, ray_session, mmsoc, capsys, tmp_path):
    command = ("run", grid, "--output", tmp_path / "out", "--run-id", "r-1")
    assert mmsoc(*command) == 0
    assert mmsoc("verify", tmp_path / "out/runs/r-1") == 0
    rows = pq.read_table(tmp_path / "out/results").to_pylist()
    values = {(r["model"], r["setting"], r["task"], r["metric"]): r["value"] for r in rows}
    assert values["majority", "zero_shot", "toxicity", "accuracy"] == pytest.approx(2 / 3)
    assert values["majority", "zero_shot", "topics", "sample_f1"] == 1
    assert {metric for *_, task, metric in values if task == "toxicity"} == {"accuracy", "success_rate"}
    (folder,) = tmp_path.glob("out/runs/r-1/model=tiny/config=*/predictions")
    prompts = [row["prompt"] for row in pq.read_table(folder).to_pylist() if row["task"] == "toxicity"]
    assert all("Is this post toxic? Answer 'Yes' or 'No'." in prompt for prompt in prompts)
    assert any("Answer: Yes" in prompt and "Answer: No" in prompt for prompt in prompts)

    # How answers are read may change under the same id; what is asked may not.
    words = tmp_path / "toxicity.yaml"
    words.write_text(TASK.replace('"No"}', '"No", synonyms: [polite]}'))
    assert mmsoc(*command) == 0
    stored = json.loads((tmp_path / "out/runs/r-1/plan.json").read_text())["scoring"]["own_tasks"]
    assert stored["toxicity"]["labels"]["civil"]["synonyms"] == ["polite"]
    words.write_text(TASK.replace("Is this post", "Is this text"))
    capsys.readouterr()
    assert mmsoc(*command) == 2
    assert "stands for another configuration" in capsys.readouterr().err
