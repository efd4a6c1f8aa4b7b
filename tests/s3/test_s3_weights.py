"""Weights from a hub on loopback to S3, and a run that reads them from there; the real hub was not tried."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import open_storage
from mmsoc_ray.grid import plan_grid
from mmsoc_ray.grid.answerer import resolve_answerer
from mmsoc_ray.models import get_model, locate_weights, model_digest, resolve_checkpoint

REPOSITORY = Path(__file__).parents[2]
HUB_ID = "llava-hf/llava-1.5-7b-hf"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FOLDER = f"{HUB_ID}/{COMMIT}"


@pytest.fixture
def llava(hub, toy, tmp_path, monkeypatch):
    """A hub that has the tiny checkpoint under the name of a published one."""
    monkeypatch.setenv("MMSOC_CACHE", str(tmp_path / "cache"))
    files = {file.name: file.read_bytes() for file in toy.checkpoint.iterdir()}
    hub.publish("models", HUB_ID, {**files, "pytorch_model.bin": b"pickled"})
    return hub


def grid(toy, file, model):
    return toy.grid(file, models=f"  {model}\ndefaults: {{settings: [zero_shot, text_only]}}")


def answerer(toy, file, model, extra=""):
    file.write_text(grid(toy, file, model).read_text() + extra)
    plan = plan_grid(load_grid(file), open_storage(toy.data))
    return resolve_answerer(plan.models[0], seed=0, weights=plan.grid.weights)


def answers(run, model):
    folder = next((run / f"model={model}").glob("config=*/predictions"))
    rows = pq.read_table(folder, columns=["setting", "post_key", "row_key", "output"]).to_pylist()
    return sorted(rows, key=json.dumps)


def test_keys_are_the_same_from_a_folder_and_pulled_to_a_folder_or_to_s3(llava, s3, toy, mmsoc, tmp_path):
    assert mmsoc("models", "pull", "llava-1.5-7b", "--output", tmp_path / "weights") == 0
    assert mmsoc("models", "pull", "llava-1.5-7b", "--output", "s3://posts/keys") == 0
    places = {
        "a folder": f"llava-1.5-7b: {{checkpoint: {toy.checkpoint}}}",
        "pulled to a folder": f"llava-1.5-7b: {{checkpoint: {tmp_path / 'weights' / FOLDER}}}",
        "pulled to s3": f"llava-1.5-7b: {{checkpoint: 's3://posts/keys/{FOLDER}'}}",
        "a model of one's own on s3": f"mine: {{checkpoint: 's3://posts/keys/{FOLDER}'}}",
    }
    found = {place: answerer(toy, tmp_path / "grid.yaml", model) for place, model in places.items()}
    for root in (tmp_path / "weights", "s3://posts/keys"):
        found[f"weights: {root}"] = answerer(toy, tmp_path / "grid.yaml", "llava-1.5-7b:", f"weights: {root}\n")
    contents = {place: one.content("toy_memes") for place, one in found.items()}
    assert contents == dict.fromkeys(found, contents["a folder"])
    assert found["weights: s3://posts/keys"].entry.revision == COMMIT
    assert not (tmp_path / "cache" / "weights").exists()  # planning fetches no weights


def test_a_run_reads_weights_from_s3_and_answers_as_from_a_folder(llava, s3, toy, mmsoc, tmp_path):
    assert mmsoc("models", "pull", "llava-1.5-7b", "--output", "s3://posts/weights") == 0
    llava.asked.clear()
    common = "settings: [zero_shot, text_only], dtype: float32, batch_tokens: 4096"
    models = (
        f"mine: {{checkpoint: {toy.checkpoint}, {common}}}\n  llava-1.5-7b: {{{common}}}\nweights: s3://posts/weights"
    )
    file = grid(toy, tmp_path / "grid.yaml", models)
    job = ["jobs/full_grid.py", file, "--output", tmp_path / "out", "--run-id", "r", "--limit", "4", "--tasks", "humor"]
    # In its own process, whose Ray knows the credentials.
    ended = subprocess.run(
        [sys.executable, *map(str, job)], cwd=REPOSITORY, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    assert llava.asked == []
    run = tmp_path / "out" / "runs" / "r"
    assert answers(run, "llava-1.5-7b") == answers(run, "mine") != []


def test_a_node_keeps_what_it_fetched_from_s3(llava, s3, toy, mmsoc):
    assert mmsoc("models", "pull", "llava-1.5-7b", "--output", "s3://posts/kept") == 0
    located = locate_weights(get_model("llava-1.5-7b"), "s3://posts/kept")
    copy = resolve_checkpoint(located)
    assert model_digest(copy) == model_digest(toy.checkpoint)
    written = {file: file.stat().st_mtime_ns for file in copy.rglob("*")}
    assert resolve_checkpoint(located) == copy
    assert {file: file.stat().st_mtime_ns for file in copy.rglob("*")} == written


def test_a_pull_to_s3_goes_on_where_it_stopped_and_then_has_nothing_to_do(llava, s3, mmsoc, capsys):
    command = ("models", "pull", "llava-1.5-7b", "--output", "s3://posts/torn")
    llava.damaged.add("model.safetensors")
    assert mmsoc(*command) == 2
    there = open_storage(f"s3://posts/torn/{FOLDER}")
    assert "config.json" in there.list_files("")
    assert not {"model.json", "model.safetensors"} & set(there.list_files(""))
    llava.damaged.clear()
    llava.asked.clear()
    assert mmsoc(*command) == 0
    assert llava.transferred == ["model.safetensors"]
    assert mmsoc(*command) == 0
    assert llava.transferred == ["model.safetensors"]
    assert "was there already, nothing to do" in capsys.readouterr().out
    assert mmsoc("models", "--weights", "s3://posts/torn") == 0
    assert f"llava-1.5-7b: {HUB_ID}\n  revision  {COMMIT}" in capsys.readouterr().out


def test_a_bucket_that_may_not_be_written_is_named_before_weights_come(llava, as_reader, mmsoc, capsys):
    assert mmsoc("models", "pull", "llava-1.5-7b", "--output", "s3://posts/mine") == 2
    assert f"cannot write s3://posts/mine/{FOLDER}" in capsys.readouterr().err
    assert "model.safetensors" not in llava.transferred


def test_weights_that_are_not_on_s3_are_refused_before_anything_is_spent(s3, toy, mmsoc, capsys, tmp_path):
    file = grid(toy, tmp_path / "grid.yaml", "mine: {checkpoint: 's3://posts/none'}")
    assert mmsoc("run", file, "--output", tmp_path / "out") == 2
    assert "models.mine.checkpoint: s3://posts/none/config.json cannot be read" in capsys.readouterr().err
