"""The order in which samples are learnt: a stated function of seed, epoch and step, and of nothing else.

Samples lie in units. In each epoch the units are put in a new order and cut into windows of ``shuffle_units``; the
samples of a window are put in a new order too; one window follows the other. A step takes the next ``batch`` samples;
the last step of an epoch takes what is left. Of the samples of a step, worker r of W has those at r, r + W, r + 2 W, …

An order is a ranking by SHA-256: of ``units|<seed>|<epoch>|<unit>``, and of
``samples|<seed>|<epoch>|<window>|<sample of the window>``. So it is the same on every machine and in every version.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache


@dataclass(frozen=True)
class Place:
    """Where a sample lies.

    Attributes:
        unit: Number of the unit.
        sample: Number of the sample in its unit.
    """

    unit: int
    sample: int


@dataclass(frozen=True)
class Portion:
    """Consecutive steps of one epoch that begin in one window: what is read together.

    Attributes:
        epoch: The epoch, from 0.
        first_step: First step, counted over all epochs.
        last_step: Last step; it may reach into the windows behind.
    """

    epoch: int
    first_step: int
    last_step: int


@dataclass(frozen=True)
class SampleOrder:
    """The order of samples.

    Attributes:
        unit_samples: Samples of each unit.
        seed: Another seed gives another order.
        batch: Samples of a step.
        shuffle_units: Units of a window.
    """

    unit_samples: tuple[int, ...]
    seed: int
    batch: int
    shuffle_units: int

    @cached_property
    def samples(self) -> int:
        """Samples of an epoch."""
        return sum(self.unit_samples)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.samples / self.batch)

    def total_steps(self, *, epochs: float | None, steps: int | None) -> int:
        """Return how many steps a training has: so many, or those of so many epochs, at least one."""
        # Rounded, since 0.1 epochs of 30 steps are 3.0000000000000004.
        return steps if steps is not None else max(1, math.ceil(round((epochs or 0) * self.steps_per_epoch, 6)))

    def epoch_of(self, step: int) -> int:
        """Return the epoch of a step."""
        return step // self.steps_per_epoch

    def places(self, step: int, *, rank: int = 0, workers: int = 1) -> list[Place]:
        """Return the samples of a step that a worker has, in order; with one worker all."""
        epoch, within = divmod(step, self.steps_per_epoch)
        _, starts = _windows(self, epoch)
        start, end = within * self.batch, min((within + 1) * self.batch, self.samples)
        first, behind = bisect.bisect_right(starts, start) - 1, bisect.bisect_left(starts, end)
        reached = itertools.chain.from_iterable(_window(self, epoch, number) for number in range(first, behind))
        return list(itertools.islice(reached, start - starts[first] + rank, end - starts[first], workers))

    def portions(self, first_step: int, last_step: int) -> list[Portion]:
        """Cut steps, the last one included, into portions."""
        groups = itertools.groupby(range(first_step, last_step + 1), key=self._window_of)
        return [Portion(epoch, steps[0], steps[-1]) for (epoch, _), within in groups if (steps := list(within))]

    def _window_of(self, step: int) -> tuple[int, int]:
        """Return the epoch of a step, and the window in which it begins."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return epoch, bisect.bisect_right(_windows(self, epoch)[1], within * self.batch) - 1


@lru_cache(maxsize=4)
def _windows(order: SampleOrder, epoch: int) -> tuple[list[list[int]], list[int]]:
    """Return the units of each window of an epoch, and at which position of the epoch each window begins."""
    ranked = _ranked(len(order.unit_samples), f"units|{order.seed}|{epoch}")
    filled = [unit for unit in ranked if order.unit_samples[unit]]
    windows = [filled[at : at + order.shuffle_units] for at in range(0, len(filled), order.shuffle_units)]
    sizes = (sum(order.unit_samples[unit] for unit in window) for window in windows)
    return windows, list(itertools.accumulate(sizes, initial=0))[:-1]


@lru_cache(maxsize=8)
def _window(order: SampleOrder, epoch: int, number: int) -> list[Place]:
    """Return the samples of a window in order."""
    units = _windows(order, epoch)[0][number]
    places = [Place(unit, sample) for unit in units for sample in range(order.unit_samples[unit])]
    return [places[rank] for rank in _ranked(len(places), f"samples|{order.seed}|{epoch}|{number}")]


def _ranked(count: int, name: str) -> list[int]:
    return sorted(range(count), key=lambda number: hashlib.sha256(f"{name}|{number}".encode()).digest())
