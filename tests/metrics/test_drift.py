"""Drift: how far answers move away from the reference."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.metrics import drift

AGREEMENTS = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(AGREEMENTS, st.randoms())
def test_drift_is_the_fall_of_the_mean_agreement(first, random):
    later = [random.random() for _ in first]
    assert drift(first, later) == pytest.approx(sum(first) / len(first) - sum(later) / len(later), abs=1e-12)
    assert drift(first, first) == 0


def test_answers_that_get_better_drift_negatively():
    assert drift([0, 1], [1, 1]) == -0.5


def test_no_post_has_no_drift():
    assert math.isnan(drift([], []))


def test_rounds_on_other_posts_are_refused():
    with pytest.raises(ValueError, match="2 posts in round 0, but 1 in the later round"):
        drift([0, 1], [1])
