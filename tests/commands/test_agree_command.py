from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.commands import agree as agree_command
from mmsoc_ray.engines import Answer
from mmsoc_ray.grid import agree as agreement
from mmsoc_ray.models.entry import Decoding


@pytest.fixture(scope="module")
def changed(toy_run, tmp_path_factory):
    """A copy of the toy run in which one of the model's answers is put in other words."""
    root = tmp_path_factory.mktemp("changed") / "out"
    shutil.copytree(toy_run.root, root)
    (file, *_) = sorted(
        (root / "runs" / toy_run.run_id / "model=tiny").glob("config=*/predictions/toy_memes-*.parquet")
    )
    table = pq.read_table(file)
    rows = table.to_pylist()
    row = next(row for row in rows if row["output"] and row["setting"] == "text_only")
    row["output"] = "in other words"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    return root / "runs" / toy_run.run_id, row


def test_a_run_agrees_with_itself(toy_run, mmsoc, capsys):
    assert mmsoc("agree", toy_run.folder, toy_run.folder) == 0
    assert "0 of" in capsys.readouterr().out


def test_a_changed_answer_is_found_and_its_margin_unknown_without_the_grid(toy_run, changed, mmsoc, capsys):
    assert mmsoc("agree", toy_run.folder, changed[0], "--json") == 1
    tiny = next(found for found in json.loads(capsys.readouterr().out) if found["one"].endswith("/tiny"))
    (found,) = tiny["disagreements"]
    assert [found["task"], found["post_key"]] == [changed[1]["task"], changed[1]["post_key"]]
    assert found["outputs"][1] == changed[1]["output"]
    assert (found["margin"], found["note"]) == (None, "name the grid with --grid, for its data and checkpoints")


def test_the_grid_gives_the_margin_at_the_first_diverging_token(toy_run, changed, mmsoc, capsys):
    arguments = ("agree", toy_run.folder, changed[0], "--grid", toy_run.grid, "--models", "tiny")
    assert mmsoc(*arguments) == 1
    out = capsys.readouterr().out
    assert f"text_only/{changed[1]['task']}/{changed[1]['post_key']}: token " in out
    assert "1 of them by a margin of more than 0.001" in " ".join(out.split())
    assert mmsoc(*arguments, "--margin", "1000") == 0


def test_runs_of_different_models_are_compared_by_name(toy_run, mmsoc, capsys):
    assert mmsoc("agree", toy_run.folder, toy_run.folder, "--models", "majority=random", "--json") == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["one"], found["other"]) == ("toy-1/majority", "toy-1/random")


def test_two_engines_are_asked_the_same_posts(toy_run, mmsoc, capsys, monkeypatch):
    monkeypatch.setattr(agreement, "ask", agreement._ask)  # in this process, which has imported the library already
    engines = ("--engines", "transformers,transformers-alone", "--grid", toy_run.grid)
    assert mmsoc("agree", *engines, "--limit", 2, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert sum(cell["requests"] for cell in found["cells"]) == 12  # two memes twice, two news once, in two settings
    assert found["beyond_margin"] == 0


def test_two_engines_are_asked_greedily_where_the_grid_samples(toy_run, mmsoc, monkeypatch, tmp_path):
    asked = []

    def ask(name, entry, posts):
        asked.append(entry.decoding)
        return [Answer(at, number, "same") for at, post in enumerate(posts) for number in range(len(post.requests))]

    monkeypatch.setattr(agreement, "ask", ask)
    monkeypatch.setattr(agree_command, "_reference", lambda answerer: None)
    grid = tmp_path / "sampled.yaml"
    text = toy_run.grid.read_text()
    assert "dtype: float32" in text
    grid.write_text(text.replace("dtype: float32", "decoding: {temperature: 0.7, seed: 2}"))
    engines = ("--engines", "transformers,vllm", "--grid", grid, "--limit", 1)
    assert mmsoc("agree", *engines) == 0
    assert asked == [Decoding(), Decoding()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("RUN",), "mmsoc agree takes two runs, or --engines and --grid; 1 given."),
        (("RUN", "RUN", "--models", "none"), "has no model 'none'. It has: majority, random, tiny."),
        (("--engines", "transformers", "--grid", "GRID"), "name two of transformers, transformers-alone, vllm"),
        (("--engines", "transformers,vllm"), "takes --grid GRID and no runs"),
        (("--engines", "transformers,vllm", "--grid", "GRID", "--models", "random"), "has a checkpoint"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, said, toy_run, mmsoc, capsys):
    paths: dict[str, Path] = {"RUN": toy_run.folder, "GRID": toy_run.grid}
    assert mmsoc("agree", *(paths.get(argument, argument) for argument in arguments)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
