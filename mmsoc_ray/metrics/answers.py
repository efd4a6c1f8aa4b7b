"""Metrics of the answers themselves, whatever the task."""

from __future__ import annotations

from collections.abc import Sequence


def success_rate(parsed: Sequence[object | None]) -> float:
    """Return the share of posts whose answer the parser could read.

    Args:
        parsed: What the parser made of each answer; None where it was unparsed or the request failed.

    Returns:
        The share; NaN without any post.
    """
    return sum(value is not None for value in parsed) / len(parsed) if parsed else float("nan")


def refusal_rate(refused: Sequence[bool]) -> float:
    """Return the share of posts whose answer declines to answer; a failed request is no refusal; NaN without a post."""
    return sum(map(bool, refused)) / len(refused) if refused else float("nan")


def output_tokens_mean(output_tokens: Sequence[int | None]) -> float:
    """Return the mean number of generated tokens over the requests that were answered.

    Args:
        output_tokens: Tokens of each answer; None for a failed request, which is left out.

    Returns:
        The mean; NaN where no request was answered.
    """
    answered = [count for count in output_tokens if count is not None]
    return sum(answered) / len(answered) if answered else float("nan")
