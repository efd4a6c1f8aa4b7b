"""Faults of the whole job: engines that cannot work, hangs, nodes that come and go, two drivers, a lost head."""

import dataclasses
import os
import signal
import time
from collections import Counter

import pytest
from fault_kit import Faults, Job, add_node, alive, cluster, ended_well, faulty_grid, run_until, wait_until
from fault_table import Cost

from mmsoc_ray.grid.asking import TRIES_ALONE, TRIES_TOGETHER

pytestmark = pytest.mark.faults

RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"
TIMEOUT_S = 12
COUNT = 12
CAPTIONS = [f"caption {at}" for at in range(COUNT)]


def ended(process):
    return process.poll() is not None


@pytest.fixture(scope="module")
def undisturbed(toy, faults, faulty_cluster, tmp_path_factory):
    """The run of the captions, a post a unit, to which nothing happened."""
    folder = tmp_path_factory.mktemp("undisturbed")
    faults.clear()
    job = Job(folder / "out", faulty_grid(folder, toy.checkpoint, CAPTIONS), faulty_cluster.address)
    run_until(ended_well, job, job.start())
    return job


def expected_outputs(job, count):
    """Every post answered once, none with an error."""
    found = job.answers()
    assert set(found) == {f"p{at}" for at in range(count)}
    assert {row["error"] for row in found.values()} == {None}
    return found


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("raise", "the engine cannot be loaded: RuntimeError: injected: the engine raises"),
        ("die", "the engine's process ended 3 times in a row while it loaded the model"),
    ],
)
def test_an_engine_that_cannot_be_loaded_fails_its_model_with_the_cause(toy, faults, job, tmp_path, load, said):
    hurt = job(faulty_grid(tmp_path, toy.checkpoint, ["a", "b"]))
    faults.set("load", load)
    process = hurt.start()
    wait_until(lambda: ended(process), "the job ends")
    assert process.returncode == 1
    assert said in hurt.said
    assert len(faults.engines()) == 3


def test_a_broken_engine_fails_its_model_and_a_mended_one_answers_all(toy, faults, job, tmp_path):
    texts = [f"FAULT:die {at}" for at in range(6)]
    hurt = job(faulty_grid(tmp_path, toy.checkpoint, texts, posts_per_unit=6))
    process = hurt.start()
    wait_until(lambda: ended(process), "the job ends")
    assert process.returncode == 1
    assert "EngineBrokenError: the engine failed over each of 3 posts" in hurt.said
    assert hurt.units() == {}
    faults.set("calm", "yes")
    run_until(ended_well, hurt, hurt.start())
    expected_outputs(hurt, 6)


def hanging(toy, folder, *, actors=1, **units):
    resources = f"cpus: 0.5, actors: {actors}, no_progress_timeout_s: {TIMEOUT_S}"
    return faulty_grid(folder, toy.checkpoint, CAPTIONS, resources=resources, **units)


@pytest.fixture(scope="module")
def hanging_each_time(toy, tmp_path_factory):
    """The job of a post that hangs its engine each time, on a cluster of its own: it waits while others are tested."""
    folder = tmp_path_factory.mktemp("hanging")
    (folder / "faults").mkdir()
    faults = Faults(folder / "faults")
    faults.set("fault-p1", "FAULT:sleep")
    with cluster(faults) as started:
        hurt = Job(folder / "out", hanging(toy, folder, posts_per_unit=3), started.address)
        process = hurt.start()
        yield hurt, process
        hurt.kill()


@pytest.mark.usefixtures("hanging_each_time")
def test_hung_engines_are_ended_and_their_units_streamed_again(toy, faults, job, undisturbed, fault_table, tmp_path):
    kinds = {"p1": "spin", "p5": "stop", "p9": "sleep"}
    for post, kind in kinds.items():
        faults.set(f"fault-{post}", f"FAULT:{kind}:1")
    hurt = job(hanging(toy, tmp_path, actors=len(kinds)))
    run_until(ended_well, hurt, hurt.start())
    assert f"no progress for {TIMEOUT_S} s" in hurt.said
    asked = Counter(key.rpartition("/")[2] for key, _ in faults.asked())
    assert {post for post, times in asked.items() if times > 1} == set(kinds)
    assert not [pid for pid in faults.engines() if alive(pid)]
    cost = Cost.between(hurt.files, undisturbed.files, len(kinds))
    fault_table.add(f"engines hang ({', '.join(kinds.values())})", cost, times=len(kinds))


def test_a_post_that_hangs_its_engine_each_time_is_quarantined(hanging_each_time, undisturbed, fault_table):
    hurt, process = hanging_each_time
    run_until(ended_well, hurt, process)
    errors = {key: row["error"] for key, row in hurt.answers().items() if row["error"]}
    assert errors == {"p1": "Quarantined: the engine died or hung 3 times over this post alone"}
    assert sorted(hurt.engine_calls().values()) == [1, 1, 1, 1, 1, 3, 3]
    found, expected = hurt.files, undisturbed.files
    repeated = found.engine_calls().total() - len(found.units())
    cost = Cost.between(found, expected, TRIES_TOGETHER + TRIES_ALONE - 1, same_answers=False)
    fault_table.add("post hangs its engine each time", dataclasses.replace(cost, repeated=repeated))


def test_two_drivers_share_the_work(toy, faults, job, undisturbed, fault_table, tmp_path):
    faults.set("delay_s", 1)
    both = job(faulty_grid(tmp_path, toy.checkpoint, CAPTIONS))
    drivers = [both.start(), both.start()]
    for driver in drivers:
        wait_until(lambda driver=driver: ended(driver), "both drivers end")
    assert [driver.returncode for driver in drivers] == [0, 0], both.said
    # More is asked twice only where units that are in flight collide by chance.
    fault_table.add("two drivers of one run", Cost.between(both.files, undisturbed.files, 8))
    assert max(both.engine_calls().values()) <= 2


def gpu_grid(toy, folder, timeout_s=600):
    resources = f"gpus: 1, cpus: 0, no_progress_timeout_s: {timeout_s}"
    return faulty_grid(folder, toy.checkpoint, CAPTIONS, resources=resources)


@pytest.fixture
def gpu_cluster(tmp_path):
    """A cluster of its own, whose nodes may be lost, and what steers its engines."""
    (tmp_path / "faults").mkdir()
    faults = Faults(tmp_path / "faults")
    jobs = []
    with cluster(faults) as started:

        def job(grid, **environment):
            jobs.append(Job(tmp_path / "out", grid, started.address, environment))
            return jobs[-1]

        yield started, faults, job
        for one in jobs:
            one.kill()


NODE = {"num_cpus": 1, "num_gpus": 1}


def test_a_node_that_joins_after_the_timeout_has_passed_is_used(toy, gpu_cluster, undisturbed, fault_table, tmp_path):
    started, faults, job = gpu_cluster
    late = job(gpu_grid(toy, tmp_path, timeout_s=TIMEOUT_S))
    process = late.start()
    wait_until(lambda: "stall 1 of" in late.said or ended(process), "the timeout passes", seconds=600)
    assert faults.engines() == []
    add_node(started, **NODE)
    run_until(ended_well, late, process)
    fault_table.add("node joins after the timeout", Cost.between(late.files, undisturbed.files, 0))


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "another-left"])
def test_a_killed_node_costs_no_row(toy, gpu_cluster, undisturbed, fault_table, tmp_path, replaced):
    started, faults, job = gpu_cluster
    lost = add_node(started, **NODE)
    faults.set("delay_s", 1)
    hurt = job(gpu_grid(toy, tmp_path, timeout_s=60))
    process = hurt.start()
    wait_until(lambda: len(hurt.files.units()) >= 3, "some units are done")
    if not replaced:
        add_node(started, **NODE)
    started.remove_node(lost, allow_graceful=False)
    in_flight = len(hurt.files.in_flight())
    if replaced:
        time.sleep(2)
        add_node(started, **NODE)
    kept = hurt.units()
    run_until(ended_well, hurt, process)
    how = "replaced" if replaced else "another one left"
    fault_table.add(f"only engine's node killed, {how}", Cost.between(hurt.files, undisturbed.files, in_flight))
    assert kept.items() <= hurt.units().items()


def test_a_job_whose_head_is_killed_ends_with_a_message_and_a_new_head_completes_it(
    toy, gpu_cluster, undisturbed, fault_table, tmp_path
):
    started, faults, job = gpu_cluster
    add_node(started, **NODE)
    faults.set("delay_s", 1)
    hurt = job(gpu_grid(toy, tmp_path), **{RECONNECT: "20"})
    process = hurt.start()
    wait_until(lambda: len(hurt.files.units()) >= 2, "some units are done")
    for name in ("gcs_server", "raylet"):
        for info in started.head_node.all_processes[name]:
            os.kill(info.process.pid, signal.SIGKILL)
    wait_until(lambda: ended(process), "the job ends", seconds=180)
    assert process.returncode == 1
    assert "The head of the cluster at" in hurt.said
    kept, in_flight = hurt.units(), len(hurt.files.in_flight())
    assert 2 <= len(kept) < COUNT
    with cluster(faults, num_gpus=1) as another:
        hurt.address = another.address
        run_until(ended_well, hurt, hurt.start())
    fault_table.add("head killed, then a new one", Cost.between(hurt.files, undisturbed.files, in_flight))
    assert kept.items() <= hurt.units().items()
