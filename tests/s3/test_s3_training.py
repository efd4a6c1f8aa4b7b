"""A training whose checkpoints and adapter are kept on S3, its driver killed between."""

import os
import runpy
import signal
import sys
from pathlib import Path

import pytest

from mmsoc_ray.data import LocalStorage, open_storage
from mmsoc_ray.engines.adapters import LORA_WEIGHTS
from mmsoc_ray.training import drivers, fetch_adapter, find_card, train_adapter
from mmsoc_ray.training.drivers import Driver

TESTS = Path(__file__).parents[1]
TOY = TESTS / "training" / "toy_job.py"
ROOT = "s3://posts/trained"
EPOCHS = 8


def test_a_driver_waits_on_s3_and_follows_one_that_the_servers_clock_calls_silent(s3, monkeypatch):
    monkeypatch.setattr(drivers, "BEAT_S", 0.2)
    monkeypatch.setattr(drivers, "SILENT_S", 3.0)
    root, notes = open_storage("s3://posts/drivers"), []

    def note(line):
        notes.append(line)
        first._stop()  # as a kill does

    with Driver(root, "toy-0123456789ab") as first, Driver(root, "toy-0123456789ab") as second:
        assert first.wait(pytest.fail)
        assert second.wait(note)
        assert len(notes) == 1
        assert root.list_folders("training/toy-0123456789ab") == sorted((first.id, second.id))
        second.tidy()
    assert list(root.stored_files("")) == []


@pytest.fixture
def start(toy, s3, start_process):
    """Start the training in a process of its own, with a Ray that knows the server."""

    def run():
        command = [sys.executable, TOY, toy.data, toy.checkpoint, ROOT, f'{{"epochs": {EPOCHS}}}']
        return start_process(command, {**os.environ, "PYTHONPATH": str(TESTS.parent)})

    return run


def test_a_killed_training_goes_on_from_s3_and_ends_with_the_bytes_of_one_never_stopped(
    toy, start, tmp_path, monkeypatch
):
    monkeypatch.setenv("MMSOC_CACHE", str(tmp_path / "cache"))
    first = start()
    assert any("step 6 of" in line for line in first.stdout)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    there = open_storage(ROOT)
    assert any("/step-" in path for path in there.list_files("training"))

    second = start()
    said = second.stdout.read()
    assert second.wait() == 0, said
    assert "goes on from step" in said

    job = runpy.run_path(str(TOY))["toy_job"](toy.data, toy.checkpoint, epochs=EPOCHS, dropout=0.1)
    local = LocalStorage(tmp_path / "undisturbed")
    undisturbed = fetch_adapter(local, train_adapter(job, local, note=lambda _: None, in_process=True))
    killed = fetch_adapter(there, find_card(there, job.name))
    assert (killed / LORA_WEIGHTS).read_bytes() == (undisturbed / LORA_WEIGHTS).read_bytes()
    assert there.list_files("training") == []
