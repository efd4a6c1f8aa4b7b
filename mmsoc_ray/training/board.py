"""How news come from the workers of a training to the process that began it. Without torch: its actor starts soon."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mmsoc_ray.training.adapters import CurvePoint

POLL_S = 1.0
RESTARTS = 3
"""What hung on a board that dies is lost; news that come later are not."""


@dataclass(frozen=True)
class News:
    """What a training tells on its way.

    Attributes:
        line: For people.
        point: What was measured, where the line is of that.
    """

    line: str
    point: CurvePoint | None = None


class _Board:
    """Holds news until they are taken; an actor."""

    def __init__(self) -> None:
        self._news: list[News] = []

    def add(self, news: News) -> None:
        self._news.append(news)

    def take(self) -> list[News]:
        news, self._news = self._news, []
        return news


@dataclass(frozen=True)
class Pinned:
    """Sends news to the board; travels to a worker."""

    board: Any

    def __call__(self, news: News) -> None:
        """Send news and wait for nothing."""
        self.board.add.remote(news)


@contextlib.contextmanager
def hung_board(tell: Callable[[News], None]) -> Iterator[Callable[[News], None]]:
    """Give what workers call to tell something; ``tell`` is called with it in this process.

    The board is an actor without a CPU of its own, which lives as long as the block: on this process' node, so that no
    other node takes it along when it is lost.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(num_cpus=0, max_restarts=RESTARTS)(_Board)
    board = actor.options(scheduling_strategy=here).remote()
    over = threading.Event()

    def pass_on() -> None:
        for news in ray.get(board.take.remote()):
            tell(news)

    def watch() -> None:
        while not over.wait(POLL_S):
            with contextlib.suppress(ray.exceptions.RayError):
                pass_on()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield Pinned(board)
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(ray.exceptions.RayError):
            pass_on()
        ray.kill(board)
