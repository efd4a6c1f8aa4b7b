"""Reuse across runs with Ray and real engines: what a second run of a grid asks, and what it takes over."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.grid import stream, take_over
from mmsoc_ray.grid.retries import StreamStalledError

OF_THE_RUN = ("run_id", "latency_s", "created_at", "reused_from")


def predictions(root: Path, run_id: str, model: str = "tiny") -> list[dict[str, object]]:
    (folder,) = root.glob(f"runs/{run_id}/model={model}/config=c*/predictions")
    rows = pq.read_table(folder).to_pylist()
    return sorted(rows, key=lambda row: (row["setting"], row["task"], row["post_key"], row["round"]))


def told(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return what does not belong to the run; of what was never asked, not the engine that answered its neighbours."""
    kept = [{name: value for name, value in row.items() if name not in OF_THE_RUN} for row in rows]
    return [row | ({"engine": None, "engine_version": None} if row["error"] else {}) for row in kept]


def results(root: Path, run_id: str) -> pa.Table:
    return pq.read_table(root / f"results/run_id={run_id}/part-0.parquet").drop_columns(["run_id"])


@pytest.fixture
def streamed(monkeypatch):
    """Note the units that go to engines."""
    seen: list[str] = []
    stream_units = stream.stream_units

    def noted(pipeline, units):
        seen.extend(unit.unit_id for unit in units)
        return stream_units(pipeline, units)

    monkeypatch.setattr(stream, "stream_units", noted)
    return seen


def test_an_unchanged_grid_calls_no_engine_and_ends_with_the_same_table(toy_run, mmsoc, capsys, streamed, tmp_path):
    root = tmp_path / "out"
    shutil.copytree(toy_run.root, root)
    assert mmsoc("run", toy_run.grid, "--output", root, "--run-id", "toy-2") == 0
    assert streamed == []
    assert "94 of 100 answers taken over from run 'toy-1'; no engine was called." in capsys.readouterr().out
    assert results(root, "toy-2").equals(results(root, "toy-1"))
    for model in ("majority", "random", "tiny"):
        first, second = predictions(root, "toy-1", model), predictions(root, "toy-2", model)
        assert told(second) == told(first)
        assert {row["run_id"] for row in second} == {"toy-2"}
        assert {row["reused_from"] for row in second} <= {"toy-1", None}
        assert {row["latency_s"] for row in second} == {0.0}
        assert min(row["created_at"] for row in second) > max(row["created_at"] for row in first)


def test_rounds_words_and_scores_are_taken_over_and_further_ones_asked(toy, ray_session, mmsoc, streamed, tmp_path):
    def grid(settings: str) -> Path:
        models = f"  tiny: {{checkpoint: {toy.checkpoint}, settings: [{settings}], dtype: float32}}"
        file = toy.grid(tmp_path / "grid.yaml", models=models)
        file.write_text(file.read_text().replace("humor: {max_new_tokens: 3}", "humor: {scored: true}"))
        return file

    root, narrow = tmp_path / "out", ("--output", tmp_path / "out", "--tasks", "humor")
    assert mmsoc("run", grid("with_ocr, self_improve_1"), *narrow, "--run-id", "one") == 0
    words = {file: file.stat().st_mtime_ns for file in root.glob("words/*/*.json")}
    assert len(words) == 3
    one = predictions(root, "one")
    streamed.clear()
    assert mmsoc("run", grid("zero_shot, with_ocr, self_improve_1"), *narrow, "--run-id", "two") == 0
    assert streamed == []
    assert {file: file.stat().st_mtime_ns for file in root.glob("words/*/*.json")} == words
    two = predictions(root, "two")
    assert told([row for row in two if row["setting"] != "zero_shot"]) == told(one)
    assert {(row["setting"], row["round"]) for row in two if row["reused_from"] == "one"} == {
        *(("zero_shot", 0), ("with_ocr", 0), ("self_improve_1", 0), ("self_improve_1", 1))
    }
    assert any(row["score"] is not None for row in two)
    assert mmsoc("run", grid("self_improve_2"), *narrow, "--run-id", "three") == 0
    three = predictions(root, "three")
    assert {row["round"] for row in three if row["reused_from"] is None and "Picture" not in str(row["error"])} == {2}


def test_a_stall_while_answers_are_taken_over_is_no_end(toy_run, mmsoc, capsys, streamed, monkeypatch, tmp_path):
    passes = []
    undisturbed = take_over.take_over

    def stalling(pipeline, units):
        passes.append(len(units))
        receipts = undisturbed(pipeline, units)
        if len(passes) == 1:
            yield next(receipts)
            raise StreamStalledError("a node was lost")
        yield from receipts

    monkeypatch.setattr(take_over, "take_over", stalling)
    root = tmp_path / "out"
    shutil.copytree(toy_run.root, root)
    command = ("run", toy_run.grid, "--output", root, "--run-id", "toy-2", "--models", "majority")
    assert mmsoc(*command) == 0
    assert streamed == []
    assert len(passes) == 2
    assert passes[1] < passes[0]
    assert "no engine was called" in capsys.readouterr().out


def test_an_unknown_policy_is_refused(toy_run, mmsoc, capsys, tmp_path):
    assert mmsoc("run", toy_run.grid, "--output", tmp_path, "--reuse", "some") == 2
    assert "--reuse 'some': allowed are same_version, any, none." in capsys.readouterr().err
