"""A whole grid with data and results on S3."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmsoc_ray.data import open_storage

REPOSITORY = Path(__file__).parents[2]
RESULTS = "results/run_id=toy-1/part-0.parquet"


@pytest.fixture
def on_s3(toy, s3):
    """Copy the toy data to the server."""
    data, there = open_storage(toy.data), open_storage("s3://posts/toy")
    for path in data.list_files(""):
        there.write(path, data.read(path))
    return there


def job(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the main job in its own process, whose Ray knows the credentials."""
    environment = {name: value for name, value in os.environ.items() if name != "AWS_ENDPOINT_URL_S3"}
    command = [sys.executable, "jobs/full_grid.py", *map(str, arguments)]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_a_run_on_s3_gives_the_table_of_a_local_run(toy, toy_run, on_s3, s3, tmp_path):
    grid = toy.grid(tmp_path / "toy.yaml", data=on_s3.uri)
    command = (grid, "--output", "s3://posts/out", "--run-id", "toy-1", "--s3-endpoint", s3.endpoint)
    first = job(*command)
    assert first.returncode == 0, first.stderr
    there = open_storage("s3://posts/out")
    assert there.read(RESULTS) == open_storage(toy_run.root).read(RESULTS)
    before = there.list_files("")
    again = job(*command)
    assert "Nothing was left to do" in again.stdout
    assert there.list_files("") == before


def test_an_output_that_may_not_be_written_is_refused_before_anything_is_spent(
    toy, on_s3, as_reader, tmp_path, mmsoc, capsys
):
    grid = toy.grid(tmp_path / "toy.yaml", data=on_s3.uri)
    assert mmsoc("run", grid, "--output", "s3://posts/mine") == 2
    assert "s3://posts/mine" in capsys.readouterr().err


def test_data_in_a_bucket_that_is_not_there_is_refused_by_name(toy, s3, tmp_path, mmsoc, capsys):
    grid = toy.grid(tmp_path / "toy.yaml")
    assert mmsoc("plan", grid, "--data", "s3://none-such/data") == 2
    assert "s3://none-such/data" in capsys.readouterr().err
