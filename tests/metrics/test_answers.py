"""Metrics of the answers themselves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.metrics import output_tokens_mean, refusal_rate, success_rate


@given(st.lists(st.tuples(st.none() | st.text(max_size=2), st.booleans(), st.none() | st.integers(0, 999)), min_size=1))
def test_rates_are_means(posts: list[tuple[str | None, bool, int | None]]) -> None:
    parsed, refused, tokens = zip(*posts, strict=True)
    assert success_rate(parsed) == pytest.approx(np.mean([value is not None for value in parsed]), abs=1e-12)
    assert refusal_rate(refused) == pytest.approx(np.mean(refused), abs=1e-12)
    mean = np.nanmean([np.nan, *(np.nan if count is None else count for count in tokens)]) if any(tokens) else None
    if mean is not None:
        assert output_tokens_mean(tokens) == pytest.approx(mean, abs=1e-12)


def test_success_is_what_the_parser_could_read() -> None:
    assert success_rate(["a", None, "", None]) == 0.5


def test_refusals_are_counted_over_all_posts() -> None:
    assert refusal_rate([True, False, False, False]) == 0.25


def test_failed_requests_have_no_length() -> None:
    assert output_tokens_mean([2, None, 4]) == 3


def test_nothing_gives_nan() -> None:
    assert math.isnan(success_rate([]))
    assert math.isnan(refusal_rate([]))
    assert math.isnan(output_tokens_mean([None]))
