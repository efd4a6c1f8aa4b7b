"""A whole run while the S3 server does all that servers do: nothing lost, nothing twice, the table the same bytes."""

import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_proxy import Fault, FaultProxy, SeededMix

from mmsoc_ray.data import open_storage

REPOSITORY = Path(__file__).parents[2]
RESULTS = "results/run_id=toy-1/part-0.parquet"
IDENTITY = ["model", "adapter", "setting", "task", "post_key", "round"]


def identities(root) -> Counter:
    """Count the predictions of a run by identity."""
    files = [path for path in root.list_files("runs/toy-1") if path.endswith(".parquet")]
    rows = pa.concat_tables([pq.read_table(io.BytesIO(root.read(path)), columns=IDENTITY) for path in files])
    return Counter(tuple(row.values()) for row in rows.to_pylist())


@pytest.mark.parametrize(
    ("seed", "rate", "vanish_s"),
    [pytest.param(11, 0.25, 5, id="short"), pytest.param(12, 0.4, 60, marks=pytest.mark.faults, id="long")],
)
def test_a_run_through_all_faults_gives_the_table_of_an_undisturbed_one(
    toy, toy_run, s3, tmp_path, seed, rate, vanish_s
):
    data, there = open_storage(toy.data), open_storage(f"s3://posts/faults-{seed}/data")
    for path in data.list_files(""):
        there.write(path, data.read(path))
    root = open_storage(f"s3://posts/faults-{seed}/out")
    with FaultProxy(s3.endpoint, SeededMix(seed, rate, vanish_at=frozenset({6})), vanish_s=vanish_s) as proxy:
        command = [sys.executable, "jobs/full_grid.py", str(toy.grid(tmp_path / "toy.yaml", data=there.uri))]
        command += ["--output", root.uri, "--run-id", "toy-1", "--s3-endpoint", proxy.endpoint]
        environment = {name: value for name, value in os.environ.items() if name != "AWS_ENDPOINT_URL_S3"}
        job = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    print(proxy.requests, proxy.injected)
    assert job.returncode == 0, job.stderr
    undisturbed = open_storage(toy_run.root)
    assert root.read(RESULTS) == undisturbed.read(RESULTS)
    found = identities(root)
    assert set(found.values()) == {1}
    assert found == identities(undisturbed)
    assert set(proxy.injected) == set(Fault)
