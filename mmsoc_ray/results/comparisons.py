"""Comparisons of a run's cells as its file holds them: what fine-tuning gained, over what."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from mmsoc_ray.results.table import CellKey

_KEY = ("model", "adapter", "setting", "task", "dataset", "split")
_NUMBERS = ("value", "other", "gain", "ci_low", "ci_high", "p_value")


Test = Literal["mcnemar_exact", "paired_bootstrap"]


@dataclass(frozen=True)
class Gain:
    """One metric of a cell against the same metric of another, on the same posts.

    Attributes:
        metric: The metric.
        value: Of the cell.
        other: Of the one that it is compared with.
        gain: ``value - other``; NaN where one of them is undefined. Of a metric whose lower values are the better ones,
            a good gain is negative.
        ci_low: Lower end of the gain's interval at 95 %, by a paired bootstrap over posts.
        ci_high: Upper end.
        p_value: Two-sided, of no difference.
        test: McNemar's exact test where every post is right or wrong, the paired bootstrap elsewhere.
    """

    metric: str
    value: float
    other: float
    gain: float
    ci_low: float
    ci_high: float
    p_value: float
    test: Test


@dataclass(frozen=True)
class Comparison(Gain):
    """A gain, and whose it is.

    Attributes:
        cell: The cell.
        over: The one that it is compared with.
        n: Posts.
    """

    cell: CellKey
    over: CellKey
    n: int


def write_comparisons(comparisons: Iterable[Comparison]) -> bytes:
    """Return comparisons as JSON: the same ones in any order give the same bytes. What is undefined is null."""
    ordered = sorted(comparisons, key=lambda one: (one.cell, one.over, one.metric))
    return json.dumps([_content(one) for one in ordered], indent=1).encode() + b"\n"


def read_comparisons(content: bytes) -> list[Comparison]:
    """Read comparisons back.

    Raises:
        ValueError, LookupError, TypeError: It is no such file.
    """
    return [
        Comparison(
            **{
                **one,
                "cell": tuple(one["cell"][name] for name in _KEY),
                "over": tuple(one["over"][name] for name in _KEY),
                **{name: math.nan if one[name] is None else one[name] for name in _NUMBERS},
            }
        )
        for one in json.loads(content)
    ]


def _content(one: Comparison) -> dict[str, Any]:
    content = dataclasses.asdict(one)
    numbers = {name: value if math.isfinite(value := content[name]) else None for name in _NUMBERS}
    keys = {name: dict(zip(_KEY, content[name], strict=True)) for name in ("cell", "over")}
    return keys | content | numbers | keys  # cells first
