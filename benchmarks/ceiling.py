"""A run of one model, from the first read to sealed predictions, over the raw engine fed from memory.

    python benchmarks/ceiling.py                            # the demo's model, transformers: half an hour on two cores
    python benchmarks/ceiling.py --engine vllm
    python benchmarks/ceiling.py --model llava-7b-random --posts 1000 --posts-per-unit 64          # on a GPU

The run is a run: Ray Data reads the shards, tasks decode and render, engines answer and write each unit, and all
units are counted and sealed. The raw engines are as many processes with as many threads, which hold their share of the
same prepared requests in memory and answer it in one call. Both are measured with engines that have just been loaded.

The rate of a run is its requests over the seconds that its engines had on average, from the moment each began its first
unit until the predictions were sealed. That of the raw engines is the sum of what each does while it works. What comes
before, start-up, is printed apart: Ray, processes, imports, weights; the first units are read meanwhile, which would
take the printed seconds if it were counted. Each pair is a run and the raw engines, their order changing; the median of
the pairs' ratios is held against the bound, 0.95.

Where engines fill all cores of a CPU, a second ratio says what would come out on a machine with no other work: seconds
of CPU that the raw engines take, over those of all processes of the run, Ray's own included, in its measured time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import meme_work
import numpy as np
import psutil
from machine import machine_line

BOUND = 0.95
SHOWN_S = 0.3
"""Kinds of processes that take less CPU than that are not shown."""


@dataclass(frozen=True)
class Measured:
    """What a run or the raw engines did.

    Attributes:
        requests: Requests answered.
        new_tokens: Tokens generated.
        prompt_tokens: Tokens of the prompts.
        seconds: What the engines had for it on average.
        start_s: Until the first engine began.
        spread_s: Between the first and the last engine to begin (a run) or to end (raw engines).
        rate: Requests per second.
        outputs: What was said, by identity.
        cpu_of: Seconds of CPU by kind of process: of all of a run's in ``seconds``, of the raw engines' while they
            answer.
    """

    requests: int
    new_tokens: int
    prompt_tokens: int
    seconds: float
    start_s: float
    spread_s: float
    rate: float
    outputs: dict[tuple[str, str], str | None]
    cpu_of: dict[str, float]

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU of all its processes."""
        return sum(self.cpu_of.values())

    def __str__(self) -> str:
        """One line with absolute figures."""
        each = self.rate / self.requests
        kinds = "".join(f"\n    {used:6.1f} s of CPU  {kind}" for kind, used in self.cpu_of.items() if used >= SHOWN_S)
        return (
            f"{self.rate:.3f} requests/s, {self.new_tokens * each:.1f} new and {self.prompt_tokens * each:.0f} prompt "
            f"tokens/s, {self.seconds:.1f} s, {self.cpu_s:.1f} s of CPU; start-up {self.start_s:.1f} s, engines apart "
            f"by {self.spread_s:.1f} s{kinds}"
        )


class CpuMeter:
    """Notes once a second how much CPU this process and all below it have had, by kind of process."""

    def __init__(self) -> None:
        self._notes: list[tuple[float, Counter[str]]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._last: dict[tuple[int, str], float] = {}

    def __enter__(self) -> CpuMeter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def between(self, start: float, end: float) -> dict[str, float]:
        """Return seconds of CPU by kind, most first, from moment to moment (seconds since the epoch).

        Between two notes it is taken to have been used evenly.
        """
        moments, noted = zip(*self._notes, strict=True)
        used = {kind: np.interp([start, end], moments, [note[kind] for note in noted]) for kind in noted[-1]}
        return dict(sorted(((kind, float(s[1] - s[0])) for kind, s in used.items()), key=lambda item: -item[1]))

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._ended.wait(1.0):
            for process in (this, *this.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    kind = "driver" if process == this else _kind(process)
                    times = process.cpu_times()
                    self._last[process.pid, kind] = times.user + times.system  # stays when the process has ended
            note: Counter[str] = Counter()
            before: Counter[int] = Counter()  # a worker of Ray changes its kind
            for (pid, kind), used in sorted(self._last.items(), key=lambda item: item[1]):
                note[kind] += used - before[pid]
                before[pid] = used
            self._notes.append((time.time(), note))


def _kind(process: psutil.Process) -> str:
    """Return what a process is, without what tells it from its like."""
    words = process.cmdline() or [process.name()]
    if words[0].startswith("ray::"):
        return words[0].partition("(")[0]
    scripts = [Path(word).name for word in words if word.endswith(".py") and not word.startswith("-")]
    return scripts[0] if scripts else Path(words[0]).name


def measure_run(folder: Path, chosen: argparse.Namespace, number: int) -> Measured:
    """Run the grid under a new id and read off its files when what happened."""
    import pyarrow.parquet as pq

    from mmsoc_ray.grid import RunProgress, execute
    from mmsoc_ray.grid.reuse import ReusePolicy

    run = meme_work.open_work(folder, chosen, f"ceiling-{number}-{os.getpid()}", engines=chosen.engines)
    started = time.time()
    with RunProgress() as progress, CpuMeter() as meter:
        result = execute(run, progress, reuse=ReusePolicy.none)
    if result.incomplete or not result.sealed:
        raise SystemExit("the run lacks predictions")
    (model,) = run.models
    sealed = _modified(run, run.folder.seal(model.name, model.config))
    begun = _begun(run, model)
    rows = pq.read_table(
        Path(run.root.uri, run.folder.predictions(model.name, model.config)), partitioning=None
    ).to_pylist()
    meme_work.refuse_failed(row["error"] for row in rows)
    seconds = sealed - statistics.mean(begun)
    return Measured(
        len(rows),
        sum(row["output_tokens"] for row in rows),
        sum(row["prompt_tokens"] for row in rows),
        seconds,
        min(begun) - started,
        max(begun) - min(begun),
        len(rows) / seconds,
        {(row["post_key"], row["task"]): row["output"] for row in rows},
        meter.between(statistics.mean(begun), sealed),
    )


def _modified(run: Any, path: str) -> float:
    return Path(run.root.uri, path).stat().st_mtime


def _begun(run: Any, model: Any) -> list[float]:
    """Return when each engine was first asked, off the records of attempts."""
    attempts = Path(run.root.uri, run.folder.attempts(model.name, model.config))
    first: dict[int, float] = {}
    for file in attempts.rglob("try-*.json"):
        record = json.loads(file.read_text())
        first[record["pid"]] = min(record["time"], first.get(record["pid"], record["time"]))
    return list(first.values())


def measure_raw(folder: Path, chosen: argparse.Namespace, number: int) -> Measured:
    """Ask the engines alone, each in a process of its own, with its share of the posts in memory."""
    context = multiprocessing.get_context("spawn")
    loaded, results = context.Barrier(chosen.engines), context.Queue()
    started = time.monotonic()
    processes = [
        context.Process(target=_answer_share, args=(folder, chosen, share, loaded, results))
        for share in range(chosen.engines)
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    meme_work.refuse_failed(answer.error for share in found for _, _, answer in share["answers"])
    answers = [said for share in found for said in share["answers"]]
    seconds = [share["seconds"] for share in found]
    return Measured(
        len(answers),
        sum(answer.output_tokens for _, _, answer in answers),
        sum(answer.prompt_tokens for _, _, answer in answers),
        statistics.mean(seconds),
        min(share["begun"] for share in found) - started,
        max(seconds) - min(seconds),
        sum(len(share["answers"]) / share["seconds"] for share in found),
        {(post_key, task): answer.output for post_key, task, answer in answers},
        {"engines": sum(share["cpu_s"] for share in found)},
    )


def _answer_share(folder: Path, chosen: argparse.Namespace, share: int, loaded: Any, results: Any) -> None:
    run = meme_work.open_work(folder, chosen, "raw", engines=chosen.engines)
    posts = meme_work.prepared(run)[share :: chosen.engines]
    engine = meme_work.open_alone(run, meme_work.threads_of(chosen))
    loaded.wait()
    begun, on_cpu = time.monotonic(), time.process_time()
    answers = list(engine.answer(posts))
    seconds, cpu_s = time.monotonic() - begun, time.process_time() - on_cpu
    meme_work.close(engine)
    said = [(posts[a.post_index].post_key, posts[a.post_index].requests[a.request_index].task, a) for a in answers]
    results.put({"answers": said, "seconds": seconds, "begun": begun, "cpu_s": cpu_s})


def main() -> int:
    """Measure pairs and print the ratio of their rates."""
    parser = meme_work.options(__doc__, posts=200)
    parser.add_argument("--engines", type=int, help="engines side by side; one, or for transformers one per CPU core")
    parser.add_argument("--pairs", type=int, default=3)
    chosen = parser.parse_args()
    several = chosen.engine == "transformers" and not meme_work.has_gpu()
    chosen.engines = chosen.engines or (os.cpu_count() or 1 if several else 1)
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        print(machine_line(meme_work.PACKAGES), flush=True)
        print(f"{chosen.posts} memes x {len(meme_work.TASKS)} tasks, {chosen.model}, {chosen.engines} x ", end="")
        print(f"{chosen.engine} of {meme_work.threads_of(chosen)} threads", flush=True)
        meme_work.open_work(folder, chosen, "raw", engines=chosen.engines)  # data and weights, once
        ratios, by_cpu = [], []
        for number in range(chosen.pairs):
            ways = (measure_run, measure_raw) if number % 2 == 0 else (measure_raw, measure_run)
            found = {way: way(folder, chosen, number) for way in ways}
            run, raw = found[measure_run], found[measure_raw]
            ratios.append(run.rate / raw.rate)
            same = sum(run.outputs[place] == output for place, output in raw.outputs.items())
            print(f"pair {number}: ratio {ratios[-1]:.3f}; {same} of {len(raw.outputs)} answers are the same")
            print(f"  run {run}\n  raw {raw}", flush=True)
            by_cpu.append(raw.cpu_s / run.cpu_s)
    if several:
        print(f"by seconds of CPU: median ratio {statistics.median(by_cpu):.3f}, each {[round(r, 3) for r in by_cpu]}")
    median = statistics.median(ratios)
    print(f"median ratio {median:.3f} (from {min(ratios):.3f} to {max(ratios):.3f}; bound {BOUND})")
    return 0 if median >= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
