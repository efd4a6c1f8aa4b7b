"""How the adapters of a table were trained: samples, steps and the drawn curve of the loss, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from mmsoc_ray.training.adapters import AdapterCard

TRAINING_NOTE = (
    "samples: of an epoch; loss: mean of an answer token in nats, the first and the last that was measured, drawn from "
    "the lowest to the highest. mmsoc adapters show NAME prints every point."
)
CURVE_WIDTH = 12
_LEVELS = "▁▂▃▄▅▆▇█"


def training_table(cards: Sequence[AdapterCard]) -> list[tuple[str, ...]]:
    """Return a heading and a row for each adapter; validation has a column where one of them was validated."""
    rows: list[tuple[str, ...]] = [("adapter", "model", "samples", "steps", "loss", "validation loss")]
    for card in cards:
        losses = [point.loss for point in card.curves if point.loss is not None]
        validation = [point.validation_loss for point in card.curves if point.validation_loss is not None]
        counts = (f"{card.samples:,}", f"{card.steps:,}")
        rows.append((card.name, f"{card.model}, {card.method}", *counts, curve_text(losses), curve_text(validation)))
    return rows if any(row[-1] for row in rows[1:]) else [row[:-1] for row in rows]


def curve_text(values: Sequence[float]) -> str:
    """Return a curve on one line: its first value, its course, its last value; nothing of no values."""
    if len(values) < 2:
        return "".join(f"{value:.3f}" for value in values)
    return f"{values[0]:.3f} {sparkline(values)} {values[-1]:.3f}"


def sparkline(values: Sequence[float], width: int = CURVE_WIDTH) -> str:
    """Draw values as bars from the lowest to the highest, the means of equal parts where there are more than fit."""
    edges = [at * len(values) // width for at in range(width + 1)] if len(values) > width else range(len(values) + 1)
    means = [fmean(values[start:end]) for start, end in pairwise(edges)]
    low, high = min(means), max(means)
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round((mean - low) / (high - low) * top) if high > low else 0] for mean in means)
