"""A whole run while the S3 server does all that servers do: nothing lost, nothing twice, the table the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_proxy import Fault, FaultProxy, SeededMix
from fault_table import Cost, RunFiles

from mmsoc_ray.data import open_storage

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("seed", "rate", "vanish_s"),
    [pytest.param(11, 0.25, 5, id="short"), pytest.param(12, 0.4, 60, marks=pytest.mark.faults, id="long")],
)
def test_a_run_through_all_faults_gives_the_table_of_an_undisturbed_one(
    toy, toy_run, s3, fault_table, tmp_path, seed, rate, vanish_s
):
    data, there = open_storage(toy.data), open_storage(f"s3://posts/faults-{seed}/data")
    for path in data.list_files(""):
        there.write(path, data.read(path))
    root = open_storage(f"s3://posts/faults-{seed}/out")
    with FaultProxy(s3.endpoint, SeededMix(seed, rate, vanish_at=frozenset({6})), vanish_s=vanish_s) as proxy:
        command = [sys.executable, "jobs/full_grid.py", str(toy.grid(tmp_path / "toy.yaml", data=there.uri))]
        command += ["--output", root.uri, "--run-id", toy_run.run_id, "--s3-endpoint", proxy.endpoint]
        environment = {name: value for name, value in os.environ.items() if name != "AWS_ENDPOINT_URL_S3"}
        job = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    print(proxy.requests, proxy.injected)
    assert job.returncode == 0, job.stderr
    assert set(proxy.injected) == set(Fault)
    undisturbed = RunFiles(open_storage(toy_run.root), toy_run.run_id)
    cost = Cost.between(RunFiles(root, toy_run.run_id), undisturbed, 0)
    for fault, times in proxy.injected.items():
        fault_table.add(f"S3: {fault}", cost, times=times)
