"""The bootstrap: same draws for the same identity, intervals as wide as theory says."""

import hashlib
import math

import numpy as np
import pytest

from mmsoc_ray.metrics import MeanStatistic, intervals, percentile_interval, resampled_counts, resampled_weights

COUNTS = [[3, 4, 3], [7, 2, 1], [2, 7, 1], [7, 3, 0]]
WEIGHTS = [[1, 1, 1, 2, 0, 1], [2, 0, 0, 3, 1, 0], [3, 1, 0, 1, 0, 1]]


def test_draws_are_fixed_by_the_identity_and_numpy() -> None:
    """Values written down once: whoever has this numpy generation draws the same."""
    counts = next(resampled_counts([5, 3, 2], "a cell", 4))
    weights = next(resampled_weights(6, "a cell", 3))
    assert counts.tolist() == COUNTS
    assert weights.tolist() == WEIGHTS


def test_another_identity_draws_otherwise() -> None:
    first, second = (next(resampled_counts([500, 500], name, 50)) for name in ("a", "b"))
    assert not np.array_equal(first, second)


def test_every_resample_has_as_many_posts_as_the_cell() -> None:
    assert (next(resampled_counts([5, 0, 7], "x")).sum(axis=1) == 12).all()
    assert (next(resampled_weights(12, "x")).sum(axis=1) == 12).all()


def test_chunks_do_not_change_the_draws() -> None:
    posts = 3_000
    chunks = list(resampled_weights(posts, "x"))
    assert len(chunks) > 1
    seed = int.from_bytes(hashlib.sha256(b"x").digest(), "big")
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = [np.bincount(rng.integers(0, posts, posts), minlength=posts) for _ in range(1_000)]
    assert np.array_equal(np.concatenate(chunks), drawn)


def test_interval_of_a_mean_is_as_wide_as_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=2_000)
    low, high = intervals(resampled_weights(2_000, "x"), MeanStatistic({"m": values}))["m"]
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / math.sqrt(2_000), rel=0.1)
    assert low < values.mean() < high


def test_counts_and_posts_give_the_same_distribution() -> None:
    right = np.repeat([1, 0], [300, 700])
    of_posts = intervals(resampled_weights(1_000, "x"), MeanStatistic({"m": right}))["m"]
    of_counts = intervals(resampled_counts([300, 700], "y"), MeanStatistic({"m": [1, 0]}))["m"]
    assert of_posts == pytest.approx(of_counts, abs=0.006)


def test_percentiles_are_interpolated() -> None:
    assert percentile_interval(np.arange(1_001)) == pytest.approx((25.0, 975.0))


def test_undefined_resamples_are_left_out() -> None:
    assert percentile_interval([math.nan, 1.0, 1.0]) == (1.0, 1.0)
    assert all(math.isnan(bound) for bound in percentile_interval([math.nan]))


def test_no_post_gives_nan() -> None:
    for chunks, values in ((resampled_counts([0], "x"), [1]), (resampled_weights(0, "x"), [])):
        assert all(math.isnan(bound) for bound in intervals(chunks, MeanStatistic({"m": values}))["m"])
