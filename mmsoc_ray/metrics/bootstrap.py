"""Percentile bootstrap: intervals at 95 % from 1,000 resamples of the posts of a cell.

Everything is drawn by numpy's PCG64 seeded with the SHA-256 of the cell's identity, so the same cell has the same
interval on any machine with the same numpy. Callers sort their posts by ``post_key`` first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Interval = tuple[float, float]
Statistic = Callable[[Counts], Mapping[str, Floats]]
"""Maps weights or counts of shape (resamples, k) to values of shape (resamples,) by name."""

RESAMPLES = 1000
LEVEL = 0.95
CHUNK = 1 << 16
"""Draws held at once: arrays of 512 KiB stay in a core's cache. The draws are the same whatever it is."""


def generator(identity: str) -> np.random.Generator:
    """Return the generator of an identity."""
    seed = int.from_bytes(hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest(), "big")
    return np.random.Generator(np.random.PCG64(seed))


def percentile_interval(values: npt.ArrayLike, level: float = LEVEL) -> Interval:
    """Return the central interval of resampled values, linearly interpolated.

    Resamples in which the metric is undefined (NaN) are left out; if it is in all of them, the interval is NaN.
    """
    defined = np.asarray(values, np.float64)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return float("nan"), float("nan")
    tail = (1 - level) / 2 * 100
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def resampled_counts(counts: npt.ArrayLike, identity: str, resamples: int = RESAMPLES) -> Iterator[Counts]:
    """Draw multinomial resamples of how often each kind of post occurs, in chunks of shape (chunk, kinds).

    The same distribution as drawing posts with replacement, at a cost that does not grow with the number of posts.
    """
    observed = np.asarray(counts, np.int64).ravel()
    total = int(observed.sum())
    if total == 0:
        yield np.zeros((resamples, len(observed)), np.int64)
        return
    shares = observed / total
    rng = generator(identity)
    for size in _chunks(resamples, len(observed)):
        yield rng.multinomial(total, shares, size=size)


def resampled_weights(posts: int, identity: str, resamples: int = RESAMPLES) -> Iterator[Counts]:
    """Draw posts with replacement; yield how often each was drawn, in chunks of shape (chunk, posts)."""
    rng = generator(identity)
    for size in _chunks(resamples, posts):
        drawn = rng.integers(0, posts, size=(size, posts)) if posts else np.zeros((size, 0), np.int64)
        drawn += np.arange(size)[:, None] * posts
        yield np.bincount(drawn.ravel(), minlength=size * posts).reshape(size, posts)


def intervals(chunks: Iterator[Counts], statistic: Statistic, level: float = LEVEL) -> dict[str, Interval]:
    """Return the interval of every value that a statistic gives over all resamples."""
    resampled = resampled_values(chunks, statistic)
    return {name: percentile_interval(values, level) for name, values in resampled.items()}


def resampled_values(chunks: Iterator[Counts], statistic: Statistic) -> dict[str, Floats]:
    """Return every value that a statistic gives, shape (resamples,) by name."""
    collected: dict[str, list[Floats]] = {}
    for chunk in chunks:
        for name, values in statistic(chunk).items():
            collected.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in collected.items()}


def _chunks(resamples: int, width: int) -> Iterator[int]:
    step = max(1, CHUNK // max(1, width))
    for start in range(0, resamples, step):
        yield min(step, resamples - start)
