"""Memory of a run over the size of its data: driver and workers must not grow from 1x to 20x (at most 10 %).

    python benchmarks/flat_memory.py                  # 260 MiB and 5.1 GiB of pictures, an object store of 80 MiB
    python benchmarks/flat_memory.py --times 4
    python benchmarks/flat_memory.py --samples FOLDER   # writes x1.csv and x20.csv: memory over time, by process

A run of a tiny picture-and-text model over noisy pictures, in a process of its own for each size, with an object store
that the smaller data set fills more than three times. Every half second the unique set size (USS: memory that would be
freed if the process ended) of the driver and of each of Ray's workers is read, and every 10 ms in between by how much
its anonymous part has grown: what a unit takes for some milliseconds would else be seen by chance, and more often in
the larger run. Printed is the largest of each, and the median of all half seconds behind it. Linux counts a page of the
object store as unique to the one process that has touched it so far, although it stays when the process ends: such
pages are left out and given apart in the samples. They are taken by a process of its own: what it keeps of them would
else count as the driver's.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import io
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

OBJECT_STORE = 80 * 2**20
POSTS = 216
SIDE = 650
"""Noise of so many pixels a side makes a PNG of 1.2 MiB: nothing in it can be compressed."""
POSTS_PER_UNIT = 6
TIMES = 20
BOUND = 1.10
SECONDS = "seconds"
"""Begins the line with which a run says how long it took."""


def write_posts(folder: Path, posts: int) -> int:
    """Write a split of noisy pictures; return its bytes."""
    import numpy as np
    from PIL import Image

    from mmsoc_ray.data import Post, open_storage, write_split

    def post(number: int, split: str) -> Post:
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=0)
        label = "humorous" if number % 2 else "not_humorous"
        return Post(f"m{number}", "noise", split, file.getvalue(), f"text {number}", targets={"humor": (label,)})

    data = open_storage(folder)
    write_split(data, "noise", "test", (post(n, "test") for n in range(posts)), posts_per_unit=POSTS_PER_UNIT)
    return sum(file.stat().st_size for file in folder.rglob("*.parquet"))


@dataclass(frozen=True)
class Sample:
    """Memory of one process at one moment.

    Attributes:
        seconds: Since the sampling began.
        pid: The process.
        kind: ``driver``, ``engine`` or ``tasks``.
        title: What a worker of Ray was doing.
        unique: Bytes that would be freed if it ended.
        peak: The most that these were in the half second that followed.
        object_store: Bytes of the object store that no other process had touched.
    """

    seconds: float
    pid: int
    kind: str
    title: str
    unique: int
    peak: int
    object_store: int


class Sampler(threading.Thread):
    """Reads the memory of a driver and of Ray's workers below it, again and again."""

    def __init__(self, driver: int) -> None:
        super().__init__(daemon=True)
        self.driver = driver
        self.samples: list[Sample] = []
        self.done = threading.Event()

    def run(self) -> None:
        """Sample until ``done`` is set."""
        import psutil

        driver, began = psutil.Process(self.driver), time.monotonic()
        while not self.done.is_set():
            try:
                below = driver.children(recursive=True)
            except psutil.Error:  # it has ended
                return
            found = [self._read(process, driver) for process in [driver, *below]]
            read = [(*one, time.monotonic() - began) for one in found if one]
            highest = {pid: anonymous for pid, _, _, _, _, anonymous, _ in read}
            until = time.monotonic() + 0.5
            while time.monotonic() < until and not self.done.wait(0.01):
                for pid in highest:
                    highest[pid] = max(highest[pid], anonymous_bytes(pid))
            for pid, kind, title, unique, store, anonymous, seconds in read:
                peak = unique + highest[pid] - anonymous
                self.samples.append(Sample(seconds, pid, kind, title, unique, peak, store))

    @staticmethod
    def _read(process: Any, driver: Any) -> tuple[int, str, str, int, int, int] | None:
        import psutil

        try:
            title = (process.cmdline() or [""])[0]
            kind = "driver" if process == driver else _kind(title)
            if kind is None:
                return None
            anonymous = anonymous_bytes(process.pid)
            return process.pid, kind, title, *unique_bytes(process.pid), anonymous
        except (psutil.Error, OSError):  # it has ended
            return None

    def peaks(self) -> dict[str, int]:
        """Return the largest memory of each kind of process, in bytes."""
        return self._by_kind(lambda sample: sample.peak, max)

    def medians(self) -> dict[str, int]:
        """Return the median memory of each kind of process over all half seconds, in bytes."""
        return self._by_kind(lambda sample: sample.unique, statistics.median_low)

    def _by_kind(self, of: Callable[[Sample], int], choose: Callable[[list[int]], int]) -> dict[str, int]:
        found: dict[str, list[int]] = {}
        for sample in self.samples:
            found.setdefault(sample.kind, []).append(of(sample))
        return {kind: choose(values) for kind, values in found.items()}

    def write(self, file: Path) -> None:
        """Write all samples as CSV."""
        with file.open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(field.name for field in dataclasses.fields(Sample))
            writer.writerows(dataclasses.astuple(sample) for sample in self.samples)


def unique_bytes(pid: int) -> tuple[int, int]:
    """Return a process' unique bytes, and apart from them those of the object store that only it has touched."""
    own = store = 0
    in_store = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):  # the head of a mapping; its last word is the file
            in_store = bool(rest) and "/dev/shm/" in line  # noqa: S108
        elif first in ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:"):
            own, store = (own, store + int(rest[0])) if in_store else (own + int(rest[0]), store)
    return own * 1024, store * 1024


def anonymous_bytes(pid: int) -> int:
    """Return a process' anonymous bytes, heap and stacks, cheaply; 0 of one that has ended."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("RssAnon:")).split()[1])
    return 0


def _kind(title: str) -> str | None:
    """Return what one of Ray's workers does: the engine's actor, or the tasks around it."""
    if not title.startswith("ray::"):
        return None
    return "engine" if "EngineActor" in title or "MapWorker" in title else "tasks"


def measure(folder: Path) -> None:
    """Run the grid below a folder in this process; print its seconds, and wait until standard input ends."""
    import ray

    from mmsoc_ray.config import load_grid
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid import RunProgress, execute, open_run, plan_grid

    ray.init(
        address="local", num_cpus=4, object_store_memory=OBJECT_STORE, include_dashboard=False, log_to_driver=False
    )
    grid = load_grid(folder / "grid.yaml")
    data = open_storage(grid.data)
    started = time.monotonic()
    with RunProgress() as progress:
        run = open_run(plan_grid(grid, data), data, open_storage(folder / "out"), "flat", progress.phase)
        result = execute(run, progress)
    seconds = time.monotonic() - started
    if result.incomplete:
        raise SystemExit(f"{len(result.incomplete)} cells are incomplete")
    print(SECONDS, seconds, flush=True)
    sys.stdin.read()


def measured(folder: Path, samples: Path | None) -> dict[str, Any]:
    """Run ``measure`` in a process of its own and sample it; return its seconds, and peaks and medians in bytes."""
    command = [sys.executable, __file__, "--measure", str(folder)]
    seconds = None
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        sampler = Sampler(child.pid)
        sampler.start()
        for line in child.stdout or ():
            if line.startswith(SECONDS):
                seconds = float(line.split()[1])
                break
        sampler.done.set()  # the run is over; what Python takes to end is no part of it
        sampler.join()
        child.communicate()
    if seconds is None or child.returncode:
        raise SystemExit(child.returncode or 1)
    if samples:
        samples.parent.mkdir(parents=True, exist_ok=True)
        sampler.write(samples)
    return {"peaks": sampler.peaks(), "medians": sampler.medians(), "seconds": seconds}


def main() -> int:
    """Measure both sizes and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=TIMES, help="how much larger the second data set is")
    parser.add_argument("--samples", type=Path, help="folder for a CSV of every sample")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = {}
    with tempfile.TemporaryDirectory() as made:
        checkpoint = Path(made) / "checkpoint"
        checkpoint.mkdir()
        runpy.run_path(str(REPOSITORY / "tests" / "engines" / "conftest.py"))["save_llava_checkpoint"](checkpoint)
        for times in (1, options.times):
            folder = Path(made) / f"x{times}"
            size = write_posts(folder / "data", POSTS * times)
            (folder / "grid.yaml").write_text(
                f"name: flat\ndata: {folder / 'data'}\ndatasets: [noise]\ntasks: {{humor: {{max_new_tokens: 2}}}}\n"
                f"models:\n  tiny: {{checkpoint: {checkpoint}, settings: [zero_shot], dtype: float32}}\n"
            )
            found[times] = measured(folder, options.samples and options.samples / f"x{times}.csv")
            print(
                f"{POSTS * times:,} posts, {size / 2**20:,.0f} MiB = {size / OBJECT_STORE:.1f} object stores, "
                f"{found[times]['seconds']:.0f} s: "
                + ", ".join(
                    f"{kind} {peak / 2**20:.0f} MiB (median {found[times]['medians'][kind] / 2**20:.0f})"
                    for kind, peak in sorted(found[times]["peaks"].items())
                ),
                flush=True,
            )
    ratios = {kind: found[options.times]["peaks"][kind] / peak for kind, peak in found[1]["peaks"].items()}
    print(", ".join(f"{kind} {ratio:.3f}" for kind, ratio in sorted(ratios.items())), f"(bound {BOUND})")
    return 0 if max(ratios.values()) <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
