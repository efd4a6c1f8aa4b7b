"""What an engine's process does with its time and memory, measured where it happens. Imports neither Ray nor torch."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


@dataclass(frozen=True)
class EngineUse:
    """What one engine did since it last told.

    Attributes:
        busy_s: Seconds in which it answered at least one unit.
        wait_s: Seconds in which it was loaded and had none.
        imports_s: Seconds of importing its libraries; with its first answer only, as ``weights_s``.
        weights_s: Seconds from there until it could answer.
        peak_bytes: Highest resident memory of its process and of those that it started, shared pages included.
        gpu_peak_bytes: Highest memory that it held on its GPUs; None without one, and where that is not known.
        gpu: Name of its GPU; None likewise.
    """

    busy_s: float = 0.0
    wait_s: float = 0.0
    imports_s: float | None = None
    weights_s: float | None = None
    peak_bytes: int = 0
    gpu_peak_bytes: int | None = None
    gpu: str | None = None


class EngineClock:
    """Measures one engine: how long it loads, answers and waits. Safe for units that are answered side by side.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answering = 0
        self._busy = self._wait = 0.0
        self._since = clock()
        self._load: tuple[float, float | None] | None = None

    def imported(self) -> None:
        """Note that the engine's libraries are imported, which began with this clock."""
        self._load = (self._passed(), None)

    def loaded(self) -> None:
        """Note that the engine can answer from now on."""
        passed = self._passed()
        self._load = (self._load[0], passed) if self._load else (0.0, passed)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Count the time of the block as busy; where blocks overlap, once."""
        with self._lock:
            self._count()
            self._answering += 1
        try:
            yield
        finally:
            with self._lock:
                self._count()
                self._answering -= 1

    def take(self, engine: object = None) -> EngineUse:
        """Return what was measured since the last call.

        Args:
            engine: The engine. What it knows of a GPU that another process uses, it tells as its attributes ``gpu`` and
                ``gpu_peak_bytes``; else torch is asked.
        """
        with self._lock:
            self._count()
            busy, wait, load = self._busy, self._wait, self._load
            self._busy, self._wait, self._load = 0.0, 0.0, None
        imports_s, weights_s = load or (None, None)
        return EngineUse(
            busy_s=busy,
            wait_s=wait,
            imports_s=imports_s,
            weights_s=weights_s,
            peak_bytes=peak_memory(children=True),
            gpu_peak_bytes=_gpu_peak(engine),
            gpu=_gpu(engine),
        )

    def _count(self) -> None:
        passed = self._passed()
        if self._answering:
            self._busy += passed
        else:
            self._wait += passed

    def _passed(self) -> float:
        now = self._clock()
        passed, self._since = now - self._since, now
        return passed


def peak_memory(*, children: bool = False) -> int:
    """Return the highest resident memory that this process ever had, in bytes, shared pages included.

    Args:
        children: Add that of the processes that it started and that still live: an engine may compute in one.
    """
    if not _PROC.is_dir():  # macOS, which counts in bytes where Linux counts in KiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return sum(map(_high_water, _family(os.getpid()) if children else [os.getpid()]))


def _high_water(pid: int) -> int:
    # Not ru_maxrss: a process inherits it from the one that started it.
    with contextlib.suppress(OSError):  # a child that has just ended
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    return 0


def _family(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        with contextlib.suppress(OSError):
            for task in (_PROC / str(process) / "task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _gpu_peak(engine: object) -> int | None:
    told: int | None = getattr(engine, "gpu_peak_bytes", None)
    cuda = _cuda()
    if told is not None or cuda is None:
        return told
    return sum(int(cuda.max_memory_allocated(device)) for device in range(cuda.device_count())) or None


def _gpu(engine: object) -> str | None:
    told: str | None = getattr(engine, "gpu", None)
    cuda = _cuda()
    return told if told is not None or cuda is None else str(cuda.get_device_name())


def _cuda() -> Any:
    """Return ``torch.cuda`` where this process uses it; torch is never imported for the question."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
