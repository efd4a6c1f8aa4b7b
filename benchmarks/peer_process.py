"""Runs a tool as a process of its own: seconds, peak memory of its tree, and a `kill -9` in the middle."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PERIOD_S = 0.5
"""Between two looks at the processes; each look at a tree of twenty takes some milliseconds."""


@dataclass(frozen=True)
class Ended:
    """How a tool's process ended.

    Attributes:
        status: Exit status; negative where a signal ended it.
        started: When it was started, seconds since the epoch.
        seconds: From start to end, or to the kill.
        cpu_s: Seconds of all cores that its tree took, as far as seen: unlike seconds, other work hardly changes it.
        rss: Largest sum of the resident memory over its tree, in bytes. Pages that processes share count in each.
        pss: Largest sum of the proportional memory over its tree: shared pages count once.
        log: What it wrote to its two outputs.
    """

    status: int
    started: float
    seconds: float
    cpu_s: float
    rss: int
    pss: int
    log: Path


def run_tool(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str],
    kill_when: Callable[[], bool] | None = None,
    limit_s: float = 3600.0,
) -> Ended:
    """Run a command to its end, or until it is time to kill it.

    Args:
        command: The command.
        log: Takes what it writes.
        environment: Added to that of this process.
        kill_when: Asked every half second; once true, every process of the tree gets SIGKILL, as when a machine dies.
        limit_s: After so long it is killed in any case.
    """
    with log.open("wb") as output:
        began, started = time.monotonic(), time.time()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        rss = pss = 0
        cpu: dict[int, float] = {}
        seen: dict[int, psutil.Process] = {}
        try:
            while process.poll() is None:
                tree = _tree(process.pid, seen)
                cpu |= {one.pid: seconds for one in tree if (seconds := _cpu(one))}
                found = [_memory(one) for one in tree]
                rss, pss = max(rss, sum(one[0] for one in found)), max(pss, sum(one[1] for one in found))
                if (kill_when is not None and kill_when()) or time.monotonic() - began > limit_s:
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PERIOD_S)
        finally:  # also where this process is told to end
            seconds = time.monotonic() - began
            _kill(_tree(process.pid, seen))
            status = process.wait()
    return Ended(status, started, seconds, sum(cpu.values()), rss, pss, log)


def _tree(pid: int, seen: dict[int, psutil.Process]) -> list[psutil.Process]:
    """Return the processes that came of one, those too whose parent has ended."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        seen.update({one.pid: one for one in (root, *root.children(recursive=True))})
    return [one for one in seen.values() if one.is_running()]


def _memory(process: psutil.Process) -> tuple[int, int]:
    with contextlib.suppress(psutil.Error):
        found = process.memory_full_info()
        return found.rss, found.pss
    return 0, 0


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=10)
