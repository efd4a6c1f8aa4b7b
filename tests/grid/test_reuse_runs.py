"""Reuse across runs: what a second run of a grid asks, and what it takes over."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.grid import stream

OF_THE_RUN = {"run_id", "latency_s", "created_at", "reused_from"}


def predictions(root: Path, run_id: str, model: str = "tiny") -> list[dict[str, object]]:
    (folder,) = root.glob(f"runs/{run_id}/model={model}/config=c*/predictions")
    return sorted(
        pq.read_table(folder).to_pylist(),
        key=lambda row: (row["setting"], row["task"], row["post_key"], row["round"]),
    )


def told(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name not in OF_THE_RUN} for row in rows]


def asked(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the rows that an engine was asked for."""
    return [row for row in rows if row["reused_from"] is None and "PictureError" not in (row["error"] or "")]


def results(root: Path, run_id: str) -> pa.Table:
    return pq.read_table(root / f"results/run_id={run_id}/part-0.parquet").drop_columns(["run_id"])


@pytest.fixture
def root(toy_run, tmp_path):
    """A copy of the toy run's root, in which further runs may be started."""
    shutil.copytree(toy_run.root, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def streamed(monkeypatch):
    """Note the ids of the units that go to engines, by model."""
    seen: dict[str, list[str]] = {}
    stream_units = stream.stream_units

    def noted(pipeline, units):
        if units:
            seen[pipeline.answerer.entry.name] = [unit.unit_id for unit in units]
        return stream_units(pipeline, units)

    monkeypatch.setattr(stream, "stream_units", noted)
    return seen


def test_an_unchanged_grid_calls_no_engine_and_ends_with_the_same_table(toy_run, root, mmsoc, capsys, streamed):
    assert mmsoc("run", toy_run.grid, "--output", root, "--run-id", "toy-2") == 0
    assert streamed == {}
    assert "94 of 100 answers taken over from run 'toy-1'; no engine was called." in capsys.readouterr().out
    assert results(root, "toy-2").equals(results(root, "toy-1"))
    for model in ("majority", "random", "tiny"):
        first, second = predictions(root, "toy-1", model), predictions(root, "toy-2", model)
        assert told(second) == told(first)
        assert {row["run_id"] for row in second} == {"toy-2"}
        assert {row["reused_from"] for row in second} <= {"toy-1", None}
        assert {row["latency_s"] for row in second} == {0.0}
        assert min(row["created_at"] for row in second) > max(row["created_at"] for row in first)


def test_a_further_task_costs_only_itself(toy, ray_session, mmsoc, capsys, tmp_path):
    command = ("run", toy.grid(tmp_path / "grid.yaml"), "--output", tmp_path / "out", "--models", "tiny")
    assert mmsoc(*command, "--run-id", "one", "--tasks", "humor,misinformation") == 0
    assert mmsoc(*command, "--run-id", "two") == 0
    rows = predictions(tmp_path / "out", "two")
    assert {row["task"] for row in asked(rows)} == {"sarcasm"}
    assert {row["reused_from"] for row in rows if row["task"] != "sarcasm" and row["error"] is None} == {"one"}
    assert "27 of 50 answers taken over from run 'one'; 23 were asked." in capsys.readouterr().out


def test_a_changed_prompt_asks_only_its_cells_again(toy_run, root, mmsoc, tmp_path):
    grid = tmp_path / "toy.yaml"
    text = toy_run.grid.read_text()
    grid.write_text(text.replace("sarcasm: {max_new_tokens: 3}", "sarcasm: {max_new_tokens: 3, prompt: tweet}"))
    assert mmsoc("run", grid, "--output", root, "--run-id", "toy-2", "--models", "tiny") == 0
    assert {row["task"] for row in asked(predictions(root, "toy-2"))} == {"sarcasm"}


def test_none_forbids_to_take_anything_over(toy_run, root, mmsoc, capsys, streamed):
    command = ("run", toy_run.grid, "--output", root, "--run-id", "toy-2", "--models", "tiny")
    assert mmsoc(*command, "--reuse", "none") == 0
    assert "taken over" not in capsys.readouterr().out
    assert {row["reused_from"] for row in predictions(root, "toy-2")} == {None}
    assert told(predictions(root, "toy-2")) == told(predictions(root, "toy-1"))


def test_an_unknown_policy_is_refused(toy_run, root, mmsoc, capsys):
    assert mmsoc("run", toy_run.grid, "--output", root, "--reuse", "some") == 2
    assert "--reuse 'some': allowed are same_version, any, none." in capsys.readouterr().err


def test_a_damaged_file_is_named_and_costs_its_own_answers(toy_run, root, mmsoc, capsys, streamed):
    (damaged,) = root.glob("runs/toy-1/model=tiny/*/predictions/toy_memes-test-00000-00001.parquet")
    damaged.write_bytes(damaged.read_bytes()[:300])
    assert mmsoc("run", toy_run.grid, "--output", root, "--run-id", "toy-2", "--models", "tiny") == 0
    assert f"nothing is taken over from {damaged}" in capsys.readouterr().err.replace('\\"', "")
    assert streamed == {"tiny": ["toy_memes-test-00000-00001"]}
    assert results(root, "toy-2").equals(results(root, "toy-1").filter(pa.compute.field("model") == "tiny"))


def test_an_answer_with_a_flipped_byte_is_asked_again(toy_run, root, mmsoc, capsys, streamed):
    (damaged,) = root.glob("runs/toy-1/model=tiny/*/predictions/toy_news-test-00000-00000.parquet")
    column = pq.read_metadata(damaged).row_group(0).column(pq.read_schema(damaged).names.index("output"))
    content = bytearray(damaged.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    damaged.write_bytes(bytes(content))
    assert mmsoc("run", toy_run.grid, "--output", root, "--run-id", "toy-2", "--models", "tiny") == 0
    assert f"nothing is taken over from {damaged}" in capsys.readouterr().err.replace('\\"', "")
    assert streamed == {"tiny": ["toy_news-test-00000-00000"]}


def test_an_unfinished_run_is_taken_over_as_far_as_it_is(toy_run, root, mmsoc, streamed):
    for lost in root.glob("runs/toy-1/model=tiny/*/predictions/toy_memes-test-00000-00000.parquet"):
        lost.unlink()
    for marker in [*root.glob("runs/toy-1/model=*/*/_SUCCESS.json"), *root.glob("manifests/*")]:
        marker.unlink()
    assert mmsoc("run", toy_run.grid, "--output", root, "--run-id", "toy-2", "--models", "tiny") == 0
    assert streamed == {"tiny": ["toy_memes-test-00000-00000"]}


def test_only_answers_of_the_same_engine_version_are_taken_over_unless_any_is_said(toy_run, root, mmsoc):
    for file in root.glob("runs/toy-1/model=tiny/*/predictions/toy_news-*.parquet"):
        table = pq.read_table(file, partitioning=None)
        place = table.schema.names.index("engine_version")
        pq.write_table(table.set_column(place, "engine_version", pa.array(["0.1"] * table.num_rows)), file)
    command = ("run", toy_run.grid, "--output", root, "--models", "tiny")
    assert mmsoc(*command, "--run-id", "toy-2") == 0
    assert {row["dataset"] for row in asked(predictions(root, "toy-2"))} == {"toy_news"}
    shutil.rmtree(root / "runs/toy-2")
    assert mmsoc(*command, "--run-id", "toy-3", "--reuse", "any") == 0
    assert asked(predictions(root, "toy-3")) == []


def test_rounds_words_and_scores_are_taken_over_as_they_are(toy, ray_session, mmsoc, streamed, tmp_path):
    settings = "[zero_shot, with_ocr, self_improve_2]"
    grid = toy.grid(
        tmp_path / "grid.yaml",
        models=f"  tiny: {{checkpoint: {toy.checkpoint}, settings: {settings}, dtype: float32}}",
    )
    grid.write_text(grid.read_text().replace("humor: {max_new_tokens: 3}", "humor: {max_new_tokens: 3, scored: true}"))
    command = ("run", grid, "--output", tmp_path / "out")
    assert mmsoc(*command, "--run-id", "one") == 0
    words = {file: file.stat().st_mtime_ns for file in tmp_path.glob("out/words/*/*.json")}
    assert len(words) == 5
    streamed.clear()
    assert mmsoc(*command, "--run-id", "two") == 0
    assert streamed == {}
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("out/words/*/*.json")} == words
    first, second = (predictions(tmp_path / "out", run_id) for run_id in ("one", "two"))
    assert told(second) == told(first)
    assert {row["round"] for row in second if row["reused_from"]} == {0, 1, 2}
    assert any(row["score"] is not None for row in second)
    assert results(tmp_path / "out", "two").equals(results(tmp_path / "out", "one"))


def test_further_rounds_are_asked_from_the_known_first_one(toy_run, root, mmsoc, toy, tmp_path):
    models = f"  tiny: {{checkpoint: {toy.checkpoint}, settings: [self_improve_1], dtype: float32}}"
    grid = toy.grid(tmp_path / "grid.yaml", models=models)
    assert mmsoc("run", grid, "--output", root, "--run-id", "toy-2") == 0
    rows = predictions(root, "toy-2")
    assert {row["round"] for row in asked(rows)} == {1}
    assert mmsoc("run", grid, "--output", tmp_path / "fresh", "--run-id", "toy-2") == 0
    assert told(rows) == told(predictions(tmp_path / "fresh", "toy-2"))


def test_answers_outlive_the_run_that_paid_for_them(toy_run, root, mmsoc, streamed):
    command = ("run", toy_run.grid, "--output", root, "--models", "tiny")
    assert mmsoc(*command, "--run-id", "toy-2") == 0
    shutil.rmtree(root / "runs/toy-1")
    assert mmsoc(*command, "--run-id", "toy-3") == 0
    assert streamed == {}
    assert {row["reused_from"] for row in predictions(root, "toy-3")} == {"toy-2", None}
