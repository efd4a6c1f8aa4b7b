"""Running out of memory on the host, for real: smaller batches, then the post is marked. Never its neighbours."""

import json
import os
import subprocess
import sys

import pytest
from fault_kit import REPOSITORY
from fault_table import Cost

LIMITED = REPOSITORY / "tests" / "faults" / "limited_memory.py"


@pytest.fixture(scope="module")
def outcome():
    """What the engine tried and gave up in a process with all the memory, then with little."""
    ended = subprocess.run(
        [sys.executable, str(LIMITED)],
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "MALLOC_TRIM_THRESHOLD_": "0",
        },
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout)


def test_with_enough_memory_one_batch_answers_all(outcome):
    assert outcome["free"]["tried"] == [16]
    assert set(outcome["free"]["errors"]) == {None}


def test_smaller_batches_are_tried_when_memory_runs_out(outcome):
    tried = outcome["limited"]["tried"]
    assert tried[:2] == [16, 8]
    assert tried.count(1) >= 1


def test_only_the_post_that_does_not_fit_alone_is_marked(outcome, fault_table):
    errors = outcome["limited"]["errors"]
    assert [at for at, error in enumerate(errors) if error] == [7]
    assert "memory" in errors[7]
    lost = len(outcome["free"]["errors"]) - len(errors)
    fault_table.add("host memory runs out (engine alone)", Cost(lost, 0))
