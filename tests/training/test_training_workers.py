"""Trainings in worker processes of Ray Train: alone, together, killed."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from toy_job import toy_job

from mmsoc_ray.data import LocalStorage
from mmsoc_ray.engines.adapters import LORA_WEIGHTS
from mmsoc_ray.training import board, fetch_adapter, find_card, train_adapter


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


@pytest.mark.faults
def test_a_killed_driver_goes_on_and_ends_with_the_bytes_of_one_never_stopped(train, toy, tmp_path):
    command = [sys.executable, str(Path(__file__).parent / "toy_job.py"), str(toy.data), str(toy.checkpoint)]
    command += [str(tmp_path / "killed"), '{"epochs": 20}']

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def start():
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)

    with start() as first:
        assert any("step 8 of" in line for line in first.stdout)
        os.killpg(first.pid, signal.SIGKILL)
    with start() as second:
        said = second.stdout.read()
    assert second.returncode == 0
    assert "goes on from step" in said
    job = toy_job(toy.data, toy.checkpoint, epochs=20.0, dropout=0.1)
    storage = LocalStorage(tmp_path / "killed")
    killed = fetch_adapter(storage, find_card(storage, job.name)) / LORA_WEIGHTS
    undisturbed = train("undisturbed", epochs=20.0, dropout=0.1, in_process=True)
    assert killed.read_bytes() == undisturbed.read_bytes()
