"""Streaming again what a stall left over, a bounded number of times. Pure: knows nothing of Ray."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mmsoc_ray.data import Unit
from mmsoc_ray.grid.asking import BROKEN_AFTER, EngineBrokenError, broken
from mmsoc_ray.grid.pace import Receipt

MAX_STALLS = 7
"""A stream that stalls more often with nothing becoming durable in between has failed. A post that hangs its engine
takes six: three with its unit, three alone."""

PAUSE_S = 0.5
"""Pause after the first stall without progress, doubling. A cluster that has just lost a node fails every stream within
a second: without pauses all stalls were over before it could mend. 64 s over all of them."""


class StreamStalledError(RuntimeError):
    """A stream stopped for a reason that may pass: no progress, or a part of the cluster was lost."""


class EngineLoadError(RuntimeError):
    """An engine could not be loaded, several times in a row."""


@dataclass(frozen=True)
class Deferred:
    """A unit that was not written, since its engine has answered nothing yet; see ``asking.Undecided``."""

    unit_id: str
    posts: int
    error: str


class Stream(Protocol):
    """Answers units and makes them durable."""

    def __call__(self, units: Sequence[Unit]) -> Iterator[Receipt | Deferred]:
        """Yield what becomes of each unit."""
        ...


def stream_to_the_end(
    model: str,
    units: Sequence[Unit],
    stream: Stream,
    durable: Callable[[], frozenset[str]],
    note: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Receipt]:
    """Answer units, again after each stall; yield a receipt for each.

    Args:
        model: The model that answers.
        units: The units still to do.
        stream: Answers units once.
        durable: Returns the ids of the units that are done, and other names of lasting progress.
        note: Told of every stall.
        pause: Waits so many seconds.

    Raises:
        StreamStalledError: After more than ``MAX_STALLS`` stalls without progress.
        EngineLoadError: Where no engine can be loaded.
        EngineBrokenError: Where an engine fails over everything that it is asked.
    """
    left, stalls, before = list(units), 0, durable()
    told: set[str] = set()
    while left:
        deferred: list[Deferred] = []
        answered = False
        try:
            for outcome in stream(left):
                if isinstance(outcome, Receipt):
                    answered = True
                    told.add(outcome.unit_id)
                    yield outcome
                    continue
                deferred.append(outcome)
                posts = sum(unit.posts for unit in deferred)
                if not answered and posts >= BROKEN_AFTER:
                    raise EngineBrokenError(broken(posts, outcome.error))
        except (StreamStalledError, EngineLoadError) as error:
            if isinstance(error, EngineLoadError) and not answered:
                raise
            now = durable()
            stalls = 1 if now != before else stalls + 1
            before = now
            if stalls > MAX_STALLS:
                raise StreamStalledError(f"{error}; nothing became durable over {stalls} stalls") from error
            for unit in left:
                if unit.unit_id in now and unit.unit_id not in told:  # its receipt was lost on the way
                    yield Receipt(unit.unit_id, model, unit.posts, 0, 0, 0, 0, 0.0, elsewhere=True)
            left = [unit for unit in left if unit.unit_id not in now]
            note(f"{error}; {len(left)} units are streamed again (stall {stalls} of {MAX_STALLS} without progress)")
            pause(PAUSE_S * 2 ** (stalls - 1))
            continue
        if deferred and not answered:
            raise EngineBrokenError(broken(sum(unit.posts for unit in deferred), deferred[-1].error))
        again = {unit.unit_id for unit in deferred}
        left = [unit for unit in left if unit.unit_id in again]


def in_other_order(units: Sequence[Unit]) -> list[Unit]:
    """Return units in an order of this process' own.

    Drivers that share a run and went through it in one order would meet once and then ask the same units side by side.
    """
    return random.sample(units, len(units))
