"""The job killed in its middle, again and again: nothing is lost, nothing stands twice, the table is the same bytes."""

import os
import random
import signal
import time

import pytest
from fault_kit import Job, descendants, ended_well, processes, run_until
from fault_table import Cost

from mmsoc_ray.data import open_storage, write_split

UNITS = 24


@pytest.fixture
def grid(toy, make_meme, make_picture, tmp_path):
    data = open_storage(tmp_path / "data")
    posts = [make_meme(f"m{number}", image=make_picture(number, width=200, height=200)) for number in range(UNITS)]
    write_split(data, "toy_memes", "test", posts, posts_per_unit=1)
    write_split(data, "toy_memes", "train", [make_meme(f"m{number}", "train") for number in range(4)])
    file = tmp_path / "grid.yaml"
    file.write_text(
        f"name: kill\ndata: {data.uri}\ndatasets: [toy_memes]\n"
        "tasks: {humor: {max_new_tokens: 4}, sarcasm: {max_new_tokens: 4}}\n"
        "models:\n  majority:\n"
        f"  tiny: {{checkpoint: {toy.checkpoint}, settings: [zero_shot, text_only], dtype: float32}}\n"
    )
    return file


@pytest.fixture
def jobs(grid, tmp_path):
    """Two jobs of the same grid and run id: one to be killed, one left alone."""
    pair = Job(tmp_path / "killed", grid), Job(tmp_path / "undisturbed", grid)
    yield pair
    for job in pair:
        for process in job.started:
            if process.poll() is None:
                process.kill()
                process.wait()


def test_three_kills_and_a_rerun_end_with_the_table_of_an_undisturbed_run(jobs, fault_table):
    killed, undisturbed = jobs
    calm = undisturbed.start()
    generator = random.Random(20261122)
    hit, seen = 0, 0
    kept: dict[str, bytes] = {}
    # The baseline's units come first, then the model's: one kill falls among those, two among these.
    for first, last in ((1, UNITS // 2), (UNITS + 1, UNITS + UNITS // 3), (UNITS + UNITS // 2, 2 * UNITS - 10)):
        moment = generator.randint(first, last)
        process = run_until(lambda _, moment=moment: len(killed.files.units()) >= moment, killed, killed.start())
        time.sleep(generator.uniform(0, 0.05))
        below = descendants(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        wait_for_end(below)
        hit += len(killed.files.in_flight({pid for pid, _ in below}))
        seen += len(below)
        found = killed.units()
        assert moment <= len(found) < 2 * UNITS, "the kill did not hit the middle"
        assert not killed.table.exists()
        assert kept.items() <= found.items(), "a finished unit was written again"
        kept = found
    run_until(ended_well, killed, killed.start())
    run_until(ended_well, undisturbed, calm)

    fault_table.add(
        "driver killed (real tiny model, float32)", Cost.between(killed.files, undisturbed.files, hit), times=3
    )
    assert kept.items() <= killed.units().items(), "a finished unit was written again"
    assert set(killed.units()) == set(undisturbed.units())
    assert killed.files.identities().total() == UNITS * (2 + 2 * 2)
    assert seen > 6, "Ray's own processes and workers of three starts were seen"


def wait_for_end(below):
    deadline = time.monotonic() + 30
    while left := below & {(pid, started) for pid, _, started in processes()}:
        assert time.monotonic() < deadline, f"processes of killed runs are left: {left}"
        time.sleep(0.2)
