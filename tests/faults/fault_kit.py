"""What tests of faults share: jobs that can be killed, clusters with nodes to lose, a grid whose engine is faulty."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fault_table import RunFiles

from mmsoc_ray.data import Post, open_storage, write_split
from mmsoc_ray.grid.attempts import engine_calls

sys.path.append(str(Path(__file__).parent / "injected"))
import faulty_engine

REPOSITORY = Path(__file__).parents[2]
JOB = REPOSITORY / "jobs" / "full_grid.py"
INJECTED = Path(__file__).parent / "injected"
RUN_ID = "kill-1"
WAIT_S = 600.0


@dataclass
class Job:
    """One root that the job writes to, started as often as it takes."""

    root: Path
    grid: Path
    address: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the job as the leader of a process group of its own."""
        command = [sys.executable, str(JOB), str(self.grid), "--output", str(self.root), "--run-id", RUN_ID]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )
        self.started.append(process)
        return process

    @property
    def files(self) -> RunFiles:
        """The run as its files show it."""
        return RunFiles(open_storage(self.root), RUN_ID)

    @property
    def _environment(self) -> dict[str, str]:
        given = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{INJECTED}", **self.environment}
        return given if self.address is None else {**given, "RAY_ADDRESS": self.address}

    @property
    def _log(self) -> Path:
        return self.root.with_suffix(".log")

    @property
    def said(self) -> str:
        """The end of what all starts have printed."""
        return self._log.read_text()[-100_000:]

    def units(self) -> dict[str, bytes]:
        """Return the finished files of units."""
        root = open_storage(self.root)
        files = root.list_files(f"runs/{RUN_ID}")
        return {path: root.read(path) for path in files if "/predictions/" in path}

    def rows(self) -> list[dict[str, Any]]:
        """Return all predictions, without what tells one run from another."""
        rows = pa.concat_tables(pq.read_table(pa.BufferReader(content)) for content in self.units().values())
        found: list[dict[str, Any]] = rows.drop_columns(["created_at", "latency_s"]).to_pylist()
        return found

    def answers(self) -> dict[str, dict[str, Any]]:
        """Return what stands for each post, by its sample id."""
        kept = self.rows()
        assert len({row["sample_id"] for row in kept}) == len(kept), "a post stands twice"
        return {row["sample_id"]: row for row in kept}

    def engine_calls(self) -> dict[tuple[str, int | None], int]:
        """Return how often engines were asked each unit whole and each post alone."""
        root = open_storage(self.root)
        (folder,) = {path.partition("/attempts/")[0] for path in root.list_files("runs") if "/attempts/" in path}
        return engine_calls(root, f"{folder}/attempts")

    def kill(self) -> None:
        """End every start of the job that is still there, with all that it started."""
        for process in self.started:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @property
    def table(self) -> Path:
        """The file of the results table."""
        return self.root / "results" / f"run_id={RUN_ID}" / "part-0.parquet"


def processes(ids: str = "[0-9]*") -> Iterator[tuple[int, int, str]]:
    """Yield id, parent and start of every process that is alive; the start tells it from a later one of its id."""
    for folder in Path("/proc").glob(ids):
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
        time.sleep(0.02)
    return process


def ended_well(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() == 0


@dataclass
class Faults:
    """The folder that steers the faulty engines of a cluster; see ``injected/faulty_engine.py``."""

    folder: Path

    def set(self, name: str, value: object) -> None:
        """Steer the engines: ``load``, ``delay_s`` or ``calm``."""
        (self.folder / name).write_text(str(value))

    def clear(self) -> None:
        """Forget all: what was set, and what was asked."""
        for file in self.folder.iterdir():
            file.unlink()

    def asked(self) -> list[tuple[str, int]]:
        """Return the post and the process of every question so far."""
        try:
            lines = (self.folder / "asked").read_text().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [(key, pid) for key, pid in (json.loads(line) for line in lines if line.endswith("\n"))]

    def engines(self) -> list[int]:
        """Return the processes in which engines began to load."""
        try:
            return [int(pid) for pid in (self.folder / "loaded").read_text().split()]
        except FileNotFoundError:
            return []

    def environment(self) -> dict[str, str]:
        """Return what a cluster's processes need in their environment."""
        return {"PYTHONPATH": f"{REPOSITORY}:{INJECTED}", faulty_engine.FAULTS: str(self.folder)}


def faulty_grid(
    folder: Path, checkpoint: Path, texts: Sequence[str], *, posts_per_unit: int = 1, resources: str = "cpus: 0.5"
) -> Path:
    """Write posts with these texts, and a grid in which the faulty engine is asked one task of each.

    A text with ``FAULT:<kind>`` has that effect on the engine; see ``injected/faulty_engine.py``.
    """
    targets = {"humor": ("humorous",)}
    posts = [Post(f"p{at}", "memes", "test", None, text, targets=targets) for at, text in enumerate(texts)]
    write_split(open_storage(folder / "data"), "memes", "test", posts, posts_per_unit=posts_per_unit)
    grid = folder / "grid.yaml"
    grid.write_text(
        f"name: faults\ndata: {folder}/data\ndatasets: [memes]\ntasks: {{humor: {{max_new_tokens: 4}}}}\n"
        f"models:\n  {faulty_engine.MODEL}:\n"
        f"    {{checkpoint: {checkpoint}, settings: [text_only], dtype: float32, resources: {{{resources}}}}}\n"
    )
    return grid


def wait_until(reached: Callable[[], bool], what: str, *, seconds: float = WAIT_S) -> None:
    """Wait for something that a job does."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return any(processes(str(pid)))


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of this process' environment for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def cluster(faults: Faults | None = None, **head: Any) -> Iterator[Any]:
    """Start a Ray cluster; nodes can be added to it and removed from it.

    Args:
        faults: Steers its engines; without it they are the real ones.
        head: What its first node has, by default three logical CPUs: each may get a process that prepares units.

    It asks for no token, and its jobs are told so: the first ``ray.init`` in this process, at any time, would set the
    variable for the jobs that are started later, and their actors would be refused.
    """
    from ray.cluster_utils import Cluster

    steered = {} if faults is None else faults.environment()
    with environment(**steered, RAY_AUTH_MODE="disabled", RAY_prestart_worker_first_driver="0"):
        started = Cluster(initialize_head=False)
        try:
            add_node(started, **{"num_cpus": 3, "include_dashboard": False, **head})
            yield started
        finally:
            started.shutdown()


def add_node(to: Any, **arguments: Any) -> Any:
    """Add a node to a cluster; where a loaded machine keeps it from starting within Ray's 30 s, try again."""
    for _ in range(5):
        try:
            return to.add_node(**{"object_store_memory": 100 * 2**20, **arguments})
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    raise AssertionError("no node of Ray starts on this machine")
