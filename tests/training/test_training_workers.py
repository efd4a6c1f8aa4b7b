"""Trainings in worker processes of Ray Train: alone, together, killed."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from toy_job import toy_job

from mmsoc_ray.data import LocalStorage
from mmsoc_ray.engines.adapters import LORA_WEIGHTS
from mmsoc_ray.training import board, drivers, fetch_adapter, train_adapter


@pytest.fixture(autouse=True)
def _prompt(monkeypatch):
    monkeypatch.setattr(board, "POLL_S", 0.05)


@pytest.fixture
def train(toy, ray_session, tmp_path):
    """Train a toy job into a root of its own; returns the stored weights' file."""

    def run(root="root", note=lambda _: None, *, in_process=False, **fields):
        job = toy_job(toy.data, toy.checkpoint, **fields)
        storage = LocalStorage(tmp_path / root)
        card = train_adapter(job, storage, note=note, in_process=in_process)
        return fetch_adapter(storage, card) / LORA_WEIGHTS

    return run


def kill_a_worker():
    """SIGKILL one worker process of Ray Train below this process."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "RayTrainWorker" in " ".join(process.cmdline()):
                process.kill()
                return


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_workers_learn_what_one_with_accumulation_learns(train, sharding):
    one = load_file(train("one", micro_batch=1, in_process=True))
    notes = []
    two = load_file(train("two", notes.append, workers=2, micro_batch=3, sharding=sharding))
    assert any("step 6 of 6" in line for line in notes)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-5)


def test_a_killed_worker_goes_on_and_ends_with_the_bytes_of_one_never_stopped(train):
    notes = []

    def note(line):
        notes.append(line)
        if sum("step 8 of" in said for said in notes) == 1 and "step 8 of" in line:
            kill_a_worker()

    killed = train("killed", note, epochs=20.0, dropout=0.1).read_bytes()
    assert any("goes on from step" in line for line in notes), notes
    assert killed == train("undisturbed", epochs=20.0, dropout=0.1, in_process=True).read_bytes()


@pytest.fixture
def start(toy, tmp_path, start_process):
    """Start the training of a toy job into a root, in a driver with a Ray of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def run(root, silent_s=10, **fields):
        command = [sys.executable, str(Path(__file__).parent / "toy_job.py"), str(toy.data), str(toy.checkpoint)]
        command += [str(tmp_path / root), json.dumps(fields), str(silent_s)]
        if silent_s == 0:  # slow, so that it does not end before the other one starts
            environment["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "1"
        return start_process(command, environment)

    return run


@pytest.mark.faults
def test_a_killed_driver_goes_on_and_ends_with_the_bytes_of_one_never_stopped(train, start):
    first = start("killed", epochs=20)
    assert any("step 8 of" in line for line in first.stdout)
    os.killpg(first.pid, signal.SIGKILL)
    second = start("killed", epochs=20)
    said = second.stdout.read()
    assert second.wait() == 0, said
    assert "goes on from step" in said
    undisturbed = train("undisturbed", epochs=20.0, dropout=0.1, in_process=True)
    killed = train("killed", epochs=20.0, dropout=0.1)  # trained before
    assert killed.read_bytes() == undisturbed.read_bytes()


@pytest.mark.parametrize("silent_s", [60, pytest.param(0, marks=pytest.mark.faults)], ids=["one waits", "both train"])
def test_two_drivers_of_one_training_both_end_with_the_adapter_of_one(silent_s, train, start, tmp_path, monkeypatch):
    monkeypatch.setattr(drivers, "BEAT_S", 0.5)
    monkeypatch.setattr(drivers, "SILENT_S", silent_s)
    epochs, notes = 8.0 if silent_s else 20.0, []
    first = start("shared", silent_s, epochs=epochs, checkpoint_every=2 if silent_s else 1)
    assert any("step 2 of" in line for line in first.stdout)
    stored = train("shared", notes.append, epochs=epochs, dropout=0.1).read_bytes()
    said = first.stdout.read()
    assert first.wait() == 0, said
    assert sum("stored by another process meanwhile" in one for one in (said, "".join(notes))) == 1
    assert any("waits for it" in line for line in notes) == (silent_s > 0)
    assert any("goes on from step" in line for line in notes) == (silent_s == 0), "both train"
    assert stored == train("undisturbed", epochs=epochs, dropout=0.1, in_process=True).read_bytes()
    assert not (tmp_path / "shared" / "training").exists()
    assert len(LocalStorage(tmp_path / "shared").list_files("adapters")) == 3
