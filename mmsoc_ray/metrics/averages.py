"""Means and ratios of many weightings of the same posts, for the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mmsoc_ray.metrics.confusion import Counts, Floats, divide, weighted_means


class MeanStatistic:
    """Weighted means of values per post.

    Args:
        values: One value for each post, shape (posts,), by metric.
    """

    def __init__(self, values: Mapping[str, npt.ArrayLike]) -> None:
        self._values = {name: np.asarray(of_post, np.float64) for name, of_post in values.items()}

    def __call__(self, weights: Counts) -> dict[str, Floats]:
        """Map weights of shape (resamples, posts) to means of shape (resamples,); NaN where all weights are 0."""
        return weighted_means(weights, self._values)


class RatioStatistic:
    """Weighted sums over weighted sums, for example of edits over words.

    Args:
        counts: Numerator and denominator of each post, shape (posts, 2), by metric.
    """

    def __init__(self, counts: Mapping[str, Counts]) -> None:
        self._counts = dict(counts)

    def __call__(self, weights: Counts) -> dict[str, Floats]:
        """Map weights of shape (resamples, posts) to ratios of shape (resamples,); NaN where the denominator is 0."""
        return {
            name: divide((weights * pair[:, 0]).sum(axis=1), (weights * pair[:, 1]).sum(axis=1), np.nan)
            for name, pair in self._counts.items()
        }
