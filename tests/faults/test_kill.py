"""The job killed in its middle, again and again: nothing is lost, nothing stands twice, the table is the same bytes."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data import open_storage, write_split

JOB = Path(__file__).parents[2] / "jobs" / "full_grid.py"
UNITS = 24
RUN_ID = "kill-1"
WAIT_S = 600.0
IDENTITY = ["model", "adapter", "setting", "task", "post_key", "round"]


@dataclass
class Job:
    """One root that the job writes to, started as often as it takes."""

    root: Path
    grid: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the job as the leader of a process group of its own."""
        command = [sys.executable, str(JOB), str(self.grid), "--output", str(self.root), "--run-id", RUN_ID]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.started.append(process)
        return process

    @property
    def _log(self) -> Path:
        return self.root.with_suffix(".log")

    @property
    def said(self) -> str:
        """The end of what all starts have printed."""
        return self._log.read_text()[-3000:]

    def units(self) -> dict[str, bytes]:
        """Return the finished files of units."""
        root = open_storage(self.root)
        return {path: root.read(path) for path in root.list_files(f"runs/{RUN_ID}") if path.endswith(".parquet")}

    def seals(self) -> dict[str, bytes]:
        """Return the seal of each model."""
        return {file.parent.parent.name: file.read_bytes() for file in self.root.rglob("_SUCCESS.json")}

    def rows(self) -> list[tuple[object, ...]]:
        """Return the identity of every prediction."""
        tables = [pq.read_table(pa.BufferReader(content), columns=IDENTITY) for content in self.units().values()]
        return [tuple(row[name] for name in IDENTITY) for row in pa.concat_tables(tables).to_pylist()]

    @property
    def table(self) -> Path:
        """The file of the results table."""
        return self.root / "results" / f"run_id={RUN_ID}" / "part-0.parquet"


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield id, parent and start of every process that is alive; the start tells it from a later one of its id."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, *rest = (folder / "stat").read_text().rpartition(")")[2].split()
            if state not in "ZX":
                yield int(folder.name), int(parent), rest[17]


def descendants(pid: int) -> set[tuple[int, str]]:
    """Return id and start of all processes below one."""
    children: dict[int, list[tuple[int, str]]] = {}
    for child, parent, started in processes():
        children.setdefault(parent, []).append((child, started))
    found: set[tuple[int, str]] = set()
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += [child for child, _ in below]
    return found


def run_until(
    reached: Callable[[subprocess.Popen[bytes]], bool], job: Job, process: subprocess.Popen[bytes]
) -> subprocess.Popen[bytes]:
    """Wait until a job has reached something; where a loaded machine keeps Ray from starting, start it again."""
    deadline = time.monotonic() + WAIT_S
    while not reached(process):
        if process.poll() is not None:
            assert "The current node timed out during startup" in job.said.splitlines()[-1], job.said
            process = job.start()
        assert time.monotonic() < deadline, f"the job took more than {WAIT_S} s:\n{job.said}"
        time.sleep(0.01)
    return process


def ended_well(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() == 0


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


def test_three_kills_and_a_rerun_end_with_the_table_of_an_undisturbed_run(jobs):
    killed, undisturbed = jobs
    calm = undisturbed.start()
    generator = random.Random(20261122)
    below: set[tuple[int, str]] = set()
    kept: dict[str, bytes] = {}
    # The baseline's units come first, then the model's: one kill falls among those, two among these.
    for first, last in ((1, UNITS // 2), (UNITS + 1, UNITS + UNITS // 3), (UNITS + UNITS // 2, 2 * UNITS - 10)):
        moment = generator.randint(first, last)
        process = run_until(lambda _, moment=moment: len(killed.units()) >= moment, killed, killed.start())
        time.sleep(generator.uniform(0, 0.05))
        below |= descendants(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        found = killed.units()
        assert moment <= len(found) < 2 * UNITS, "the kill did not hit the middle"
        assert not killed.table.exists()
        assert kept.items() <= found.items(), "a finished unit was written again"
        kept = found
    run_until(ended_well, killed, killed.start())
    run_until(ended_well, undisturbed, calm)

    assert killed.table.read_bytes() == undisturbed.table.read_bytes()
    assert killed.seals() == undisturbed.seals()
    assert kept.items() <= killed.units().items(), "a finished unit was written again"
    assert set(killed.units()) == set(undisturbed.units())
    rows = killed.rows()
    assert len(rows) == len(set(rows)) == UNITS * (2 + 2 * 2)

    assert len(below) > 6, "Ray's own processes and workers of three starts were seen"
    deadline = time.monotonic() + 30
    while left := below & {(pid, started) for pid, _, started in processes()}:
        assert time.monotonic() < deadline, f"processes of killed runs are left: {left}"
        time.sleep(0.2)
