"""From a grid with a recipe to a table: an adapter is trained on the way, and merged because no engine has it apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

GRID = """\
name: trained
data: {data}
datasets: [toy_memes]
tasks: {{humor: {{max_new_tokens: 3}}}}
training: {{finetuned: full.yaml}}
models:
  tiny: {{checkpoint: {checkpoint}, settings: [zero_shot, finetuned], dtype: float32}}
"""
RECIPE = "name: full\nmethod: full\nlearning_rate: 0.05\nsteps: 2\nbatch: 4\ncontext_tokens: 200\n"


@pytest.fixture(scope="module")
def trained(toy, ray_session, mmsoc, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "full.yaml").write_text(RECIPE)
    (folder / "grid.yaml").write_text(GRID.format(data=toy.data, checkpoint=toy.checkpoint))
    assert mmsoc("run", folder / "grid.yaml", "--output", folder / "out", "--run-id", "one", "--with-training") == 0
    return folder


def name_of(trained: Path) -> str:
    (folder,) = (trained / "out" / "adapters").iterdir()
    return folder.name


def test_what_was_missing_is_trained_and_answers_in_a_pipeline_of_its_own(trained, mmsoc):
    rows: dict[tuple[str, str, str], list[str]] = {}
    for file in sorted((trained / "out" / "runs" / "one").rglob("predictions/*.parquet")):
        for row in pq.ParquetFile(file).read().to_pylist():
            rows.setdefault((row["model"], row["setting"], row["adapter"]), []).append(row["output"])
    base, tuned = ("tiny", "zero_shot", "none"), ("tiny", "finetuned", name_of(trained))
    assert rows.keys() == {base, tuned}
    assert rows[base] != rows[tuned]
    plan = json.loads((trained / "out" / "runs" / "one" / "plan.json").read_text())
    assert list(plan["models"]) == ["tiny", "tiny@finetuned"]
    assert mmsoc("verify", f"{trained}/out/runs/one") == 0


def test_the_table_ends_with_how_the_adapters_were_trained(trained, mmsoc, tmp_path, capsys):
    shutil.copytree(trained / "out", tmp_path / "out")
    command = ("table", f"{tmp_path}/out/runs/one", "--format", "markdown")
    assert mmsoc(*command) == 0
    shown = capsys.readouterr().out.partition("How the adapters were trained")[2]
    card = json.loads((tmp_path / "out" / "adapters" / name_of(trained) / "card.json").read_text())
    losses = [point["loss"] for point in card["curves"] if point["loss"] is not None]
    assert f"| {card['name']} | tiny, full | {card['samples']} | {card['steps']} | {losses[0]:.3f} " in shown

    (tmp_path / "out" / "adapters" / card["name"] / "card.json").write_text("{")
    assert mmsoc(*command) == 0
    shown = capsys.readouterr().out
    assert "How the adapters were trained" not in shown
    assert "is no card of this version" in shown


def test_a_second_run_trains_nothing_and_asks_nothing(trained, mmsoc, capsys):
    adapters = trained / "out" / "adapters"
    written = {path: path.stat().st_mtime_ns for path in adapters.rglob("*")}
    arguments = (trained / "grid.yaml", "--output", trained / "out", "--run-id", "two", "--with-training")
    assert mmsoc("run", *arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in adapters.rglob("*")} == written
    assert "no engine was called" in " ".join(capsys.readouterr().out.split())


def test_an_adapter_is_listed_shown_compared_and_exported(toy, trained, mmsoc, capsys):
    root, name = trained / "out", name_of(trained)
    assert mmsoc("adapters", root, "--json") == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert (card["name"], card["method"], card["steps"]) == (name, "full", 2)
    assert mmsoc("adapters", "show", name, "--output", root) == 0
    assert "       2  " in capsys.readouterr().out.rpartition("validation\n")[2]
    assert mmsoc("adapters", "compare", name, name, "--output", root) == 0
    assert "nothing differs but their names" in capsys.readouterr().out
    where = ("--output", root, "--checkpoint", toy.checkpoint)
    assert mmsoc("adapters", "export", name, trained / "exported", *where) == 0
    assert (trained / "exported" / "config.json").is_file()
    assert list((trained / "exported").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "ful-1"), "unknown adapter 'ful-1'"),
        (
            ("export", "NAME", "EXPORTED"),
            "belongs to tiny, which the registry does not know. Name the folder of its base",
        ),
    ],
)
def test_what_cannot_be_shown_or_exported_says_why(arguments, said, trained, mmsoc, capsys):
    named = {"NAME": name_of(trained), "EXPORTED": trained / "other"}
    assert mmsoc("adapters", *(named.get(word, word) for word in arguments), "--output", trained / "out") == 2
    assert said in capsys.readouterr().err
