"""How lines for people come from the workers of a training to the process that began it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray

POLL_S = 1.0


class _Lines:
    """Holds lines until they are taken; an actor."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        self._lines.append(line)

    def take(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines


@dataclass(frozen=True)
class Pinned:
    """Sends lines to the board; travels to a worker."""

    lines: Any

    def __call__(self, line: str) -> None:
        """Send a line and wait for nothing."""
        self.lines.add.remote(line)


@contextlib.contextmanager
def hung_board(note: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Give what workers call to tell something; ``note`` is called with each line in this process.

    The board is an actor without a CPU of its own, which lives as long as the block.
    """
    lines: Any = ray.remote(num_cpus=0)(_Lines).remote()
    over = threading.Event()

    def pass_on() -> None:
        for line in ray.get(lines.take.remote()):
            note(line)

    def watch() -> None:
        while not over.wait(POLL_S):
            with contextlib.suppress(ray.exceptions.RayError):
                pass_on()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield Pinned(lines)
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(ray.exceptions.RayError):
            pass_on()
        ray.kill(lines)
