"""From a grid with recipes to a table: adapters trained on the way, one beside its base, one merged."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

GRID = """\
name: trained
data: {data}
datasets: [toy_memes]
tasks: {{humor: {{max_new_tokens: 3}}}}
training: {{finetuned: lora.yaml}}
defaults: {{settings: [zero_shot, finetuned]}}
models:
  majority:
  tiny: {{checkpoint: {checkpoint}, dtype: float32}}
  whole: {{checkpoint: {checkpoint}, dtype: float32, training: {{finetuned: full.yaml}}}}
"""
RECIPE = "name: {method}\nmethod: {method}\nlearning_rate: 0.05\nsteps: 2\nbatch: 4\ncontext_tokens: 200\n"


@pytest.fixture(scope="module")
def trained(toy, ray_session, mmsoc, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    for method in ("lora", "full"):
        (folder / f"{method}.yaml").write_text(RECIPE.format(method=method))
    (folder / "grid.yaml").write_text(GRID.format(data=toy.data, checkpoint=toy.checkpoint))
    assert mmsoc("run", folder / "grid.yaml", "--output", folder / "out", "--run-id", "one", "--with-training") == 0
    return folder


def test_what_was_missing_is_trained_and_answers(trained):
    names = sorted(path.name for path in (trained / "out" / "adapters").iterdir())
    assert [name.partition("-")[0] for name in names] == ["full", "lora"]
    rows = {}
    for file in sorted((trained / "out" / "runs" / "one").rglob("predictions/*.parquet")):
        for row in pq.ParquetFile(file).read().to_pylist():
            rows.setdefault((row["model"], row["setting"], row["adapter"]), []).append(row["output"])
    full, lora = names
    assert rows.keys() == {
        ("majority", "zero_shot", "none"),
        *((model, "zero_shot", "none") for model in ("tiny", "whole")),
        ("tiny", "finetuned", lora),
        ("whole", "finetuned", full),
    }
    assert rows["tiny", "zero_shot", "none"] == rows["whole", "zero_shot", "none"]
    assert rows["whole", "finetuned", full] != rows["whole", "zero_shot", "none"]


def test_a_merged_adapter_answers_in_a_pipeline_of_its_own(trained, mmsoc, capsys):
    plan = json.loads((trained / "out" / "runs" / "one" / "plan.json").read_text())
    assert list(plan["models"]) == ["majority", "tiny", "whole", "whole@finetuned"]
    assert mmsoc("verify", f"{trained}/out/runs/one") == 0
    assert mmsoc("table", f"{trained}/out/runs/one", "--format", "csv") == 0
    assert "whole,whole,0.0,full-" in capsys.readouterr().out


def test_a_second_run_trains_nothing_and_asks_nothing(trained, mmsoc, capsys):
    cards = {path: path.stat().st_mtime_ns for path in (trained / "out" / "adapters").rglob("*")}
    grid = trained / "grid.yaml"
    assert mmsoc("run", grid, "--output", trained / "out", "--run-id", "two", "--with-training") == 0
    assert {path: path.stat().st_mtime_ns for path in (trained / "out" / "adapters").rglob("*")} == cards
    assert "no engine was called" in " ".join(capsys.readouterr().out.split())
    table = [(trained / "out" / "results" / f"run_id={run}" / "part-0.parquet") for run in ("one", "two")]
    columns = [pq.read_table(file, partitioning=None).drop(["run_id"]) for file in table]
    assert columns[0].equals(columns[1])


def test_adapters_are_listed_compared_and_exported(toy, trained, mmsoc, capsys):
    root = trained / "out"
    full, lora = sorted(path.name for path in (root / "adapters").iterdir())
    assert mmsoc("adapters", root) == 0
    listed = capsys.readouterr().out
    assert full in listed
    assert lora in listed
    assert mmsoc("adapters", "compare", full, lora, "--output", root) == 0
    compared = capsys.readouterr().out
    assert 'method: "full" -> "lora"' in compared
    assert mmsoc("adapters", "show", lora, "--output", root) == 0
    assert "2 " in capsys.readouterr().out.rpartition("validation\n")[2]
    where = ("--output", root, "--checkpoint", toy.checkpoint)
    assert mmsoc("adapters", "export", lora, trained / "exported", *where) == 0
    assert (trained / "exported" / "config.json").is_file()
    assert list((trained / "exported").glob("*.safetensors"))
