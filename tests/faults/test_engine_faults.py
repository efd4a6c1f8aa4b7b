"""Engines that die, raise or hang over a post, in a real cluster: neighbours are answered as if nothing had been."""

import os
import signal

import pytest
from fault_kit import ended_well, faulty_grid, run_until, wait_until
from fault_table import Cost

from mmsoc_ray.grid.asking import TRIES_ALONE, TRIES_TOGETHER

POISON = {6: "FAULT:die", 13: "FAULT:raise"}
POST_S = 0.3
"""So long a post takes: the unit before is written by the first time that one ends its process."""
POSTS = 16


@pytest.fixture(scope="module")
def texts():
    return [f"caption {at} {POISON.get(at, '')}" for at in range(POSTS)]


def test_poison_posts_are_quarantined_and_a_killed_actor_costs_nothing(toy, faults, job, texts, fault_table, tmp_path):
    grid = faulty_grid(tmp_path, toy.checkpoint, texts, posts_per_unit=4)
    faults.set("calm", "yes")
    calm = job(grid, "calm")
    run_until(ended_well, calm, calm.start())
    faults.clear()

    hurt = job(grid, "hurt")
    faults.set("delay_s", POST_S)
    faults.set("fault-p0", "FAULT:sleep:1")  # the kill hits this unit, whichever the stream brings first
    process = hurt.start()
    wait_until((faults.folder / "had-memes-test-p0").exists, "the unit is being asked")
    os.kill(next(pid for key, pid in faults.asked() if key.endswith("/p0")), signal.SIGKILL)
    run_until(ended_well, hurt, process)

    found, expected = hurt.answers(), calm.answers()
    assert found.keys() == expected.keys()
    quarantined = {sample_id: row["error"] for sample_id, row in found.items() if row["error"]}
    assert quarantined == {
        "p6": "Quarantined: the engine died or hung 3 times over this post alone",
        "p13": "RuntimeError: injected: the engine raises",
    }
    assert [row for key, row in found.items() if key not in quarantined] == [
        row for key, row in expected.items() if key not in quarantined
    ]
    calls = hurt.engine_calls()
    whole = {unit: calls[unit, None] for unit, post in calls if post is None}
    assert sorted(whole.values()) == [1, 1, 2, 3]
    alone = {(unit, post): count for (unit, post), count in calls.items() if post is not None}
    assert sorted(alone.values()) == [1, 1, 1, 1, 1, 1, 1, 3], "a neighbour was asked again"
    # The actor was killed once; one post ends its process each time; the unit of one that raises is taken apart.
    at_most = 1 + (TRIES_TOGETHER + TRIES_ALONE - 1) + 1
    cost = Cost.between(hurt.files, calm.files, at_most, same_answers=False)
    fault_table.add("actor killed, two poison posts", cost)
