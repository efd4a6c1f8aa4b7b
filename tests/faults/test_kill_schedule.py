"""A schedule of kills drawn from a seed: each run ends with the bytes of the undisturbed one."""

import dataclasses
from collections import Counter

import pytest
from fault_kit import RUN_ID, Faults, Job, add_node, cluster, ended_well, faulty_grid, run_until
from fault_table import Cost
from kill_schedule import ENGINES, NODE, NODES, KilledRun, draw_kills

POSTS_PER_UNIT = 4


@pytest.mark.parametrize(
    ("count", "units"), [pytest.param(6, 24, id="short"), pytest.param(50, 96, marks=pytest.mark.faults, id="long")]
)
def test_every_run_of_a_schedule_of_kills_ends_as_the_undisturbed_one(
    toy, fault_table, fault_seed, ray_session, mmsoc, tmp_path, count, units
):
    print(f"again with --seed {fault_seed}")  # pytest shows it where this fails
    (tmp_path / "faults").mkdir()
    faults = Faults(tmp_path / "faults")
    texts = [f"caption {at}" for at in range(units * POSTS_PER_UNIT)]
    grid = faulty_grid(
        tmp_path, toy.checkpoint, texts, posts_per_unit=POSTS_PER_UNIT, resources=f"actors: {ENGINES}, cpus: 0, gpus: 1"
    )
    kills = list(draw_kills(fault_seed, count))
    with cluster(faults) as started:
        for _ in range(NODES):
            add_node(started, **NODE)
        undisturbed = Job(tmp_path / "undisturbed", grid, started.address)
        run_until(ended_well, undisturbed, undisturbed.start())
        assert undisturbed.files.engine_calls().total() == units
        jobs = []
        try:
            while kills:
                jobs.append(Job(tmp_path / f"killed-{len(jobs)}", grid, started.address))
                run = KilledRun(started, jobs[-1], faults)
                run.complete(kills)
                enter(fault_table, run, undisturbed)
                assert mmsoc("verify", jobs[-1].root / "runs" / RUN_ID) == 0
        finally:
            for job in jobs:
                job.kill()


def enter(fault_table, run, undisturbed):
    """Enter the kills of a run: a repeated call belongs to a kill that had its unit in flight."""
    repeated = run.job.files.engine_calls()
    repeated.subtract(undisturbed.files.engine_calls())
    by_victim = Counter()
    for kill, hit in run.struck:
        for unit in hit:
            by_victim[kill] += repeated[unit] > 0
            repeated[unit] -= repeated[unit] > 0
    assert repeated.total() == 0, "a unit was asked again that no kill had hit"
    whole = Cost.between(run.job.files, undisturbed.files, sum(len(hit) for _, hit in run.struck))
    for victim in sorted({kill for kill, _ in run.struck}):
        hits = [len(hit) for kill, hit in run.struck if kill == victim]
        cost = dataclasses.replace(whole, repeated=by_victim[victim], at_most=sum(hits))
        fault_table.add(f"{victim} killed", cost, times=len(hits))
