"""Means and ratios under weights."""

import numpy as np

from mmsoc_ray.metrics import MeanStatistic, RatioStatistic

WEIGHTS = np.asarray([[1, 1, 1], [0, 2, 1], [0, 0, 0]])


def test_means_are_weighted_and_undefined_without_weight() -> None:
    values = MeanStatistic({"m": [3.0, 0.0, 6.0]})(WEIGHTS)["m"]
    np.testing.assert_array_equal(values, [3, 2, np.nan])


def test_ratios_are_of_sums_and_undefined_without_denominator() -> None:
    counts = np.asarray([[1, 2], [0, 4], [3, 0]])
    np.testing.assert_array_equal(RatioStatistic({"r": counts})(WEIGHTS)["r"], [4 / 6, 3 / 8, np.nan])
