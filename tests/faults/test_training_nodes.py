"""An elastic training that loses a node in its middle goes on with the workers that are left."""

import json
import os
import runpy
import signal
import subprocess
import sys

import pytest
import torch
from fault_kit import REPOSITORY, add_node, cluster
from safetensors.torch import load_file

from mmsoc_ray.data import LocalStorage
from mmsoc_ray.engines.adapters import LORA_WEIGHTS
from mmsoc_ray.training import fetch_adapter, find_card, train_adapter

TOY = REPOSITORY / "tests" / "training" / "toy_job.py"
FIELDS = {"epochs": 8, "workers": [1, 2], "cpus_per_worker": 4, "dropout": 0.0}
NODE = {"num_cpus": 6}
"""A node holds one worker and what feeds it."""


@pytest.mark.faults
def test_a_training_goes_on_with_the_worker_that_is_left_when_a_node_dies(toy, tmp_path):
    with cluster(**NODE) as started:
        lost = add_node(started, **NODE)
        environment = {**os.environ, "RAY_ADDRESS": started.address}
        command = [sys.executable, TOY, toy.data, toy.checkpoint, tmp_path / "hurt", json.dumps(FIELDS)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if "step 8 of" in line and lost is not None:
                    started.remove_node(lost, allow_graceful=False)
                    lost = None
            assert process.wait() == 0, said
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert lost is None, said
    assert any("goes on from step" in line for line in said), "".join(said)

    job = runpy.run_path(str(TOY))["toy_job"](toy.data, toy.checkpoint, **FIELDS)
    hurt, calm = LocalStorage(tmp_path / "hurt"), LocalStorage(tmp_path / "calm")
    train_adapter(job, calm, note=lambda _: None, in_process=True)
    one, two = (load_file(fetch_adapter(root, find_card(root, job.name)) / LORA_WEIGHTS) for root in (hurt, calm))
    assert one.keys() == two.keys()
    for name, tensor in two.items():
        torch.testing.assert_close(one[name], tensor, atol=1e-4, rtol=1e-4)
