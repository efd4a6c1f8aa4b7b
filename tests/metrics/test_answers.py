"""Metrics of the answers themselves."""

import math

from mmsoc_ray.metrics import output_tokens_mean, refusal_rate, success_rate


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
