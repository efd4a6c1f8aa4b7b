"""What fine-tuning gained, arranged like the results table: what is compared with what, by tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mmsoc_ray.results.comparisons import Comparison
from mmsoc_ray.results.overview import Cell, Column, Line, Overview

SIGNIFICANT = 0.05
"""Gains with a p-value below are shown in bold."""

GAIN_NOTES = (
    "gain: metric of the fine-tuned cell minus that of the other on the same posts; [low, high]: interval at 95 %, by "
    "a paired bootstrap; p: two-sided, of no difference.",
    f"acc: gain in accuracy, with McNemar's exact test. bold: p below {SIGNIFICANT:g}, not corrected for the number of "
    "comparisons; ↓: a good gain is negative.",
)


@dataclass(frozen=True)
class GainCell(Cell):
    """A gain where a line and a column cross.

    Attributes:
        p_value: Of the headline metric.
        accuracy: Gain in accuracy and its p-value; None where the task has no accuracy.
    """

    p_value: float = math.nan
    accuracy: tuple[float, float] | None = None

    def value_text(self, digits: int) -> str:
        """The gain with its sign."""
        return "undefined" if math.isnan(self.value) else f"{self.value:+.{digits}f}"

    @property
    def success_text(self) -> str:
        """The p-value, and the gain in accuracy with its own."""
        lines = [] if math.isnan(self.p_value) else [p_text(self.p_value)]
        if self.accuracy is not None and not math.isnan(self.accuracy[0]):
            lines.append(f"acc {self.accuracy[0]:+.2f}, {p_text(self.accuracy[1])}")
        return "\n".join(lines)


def p_text(p_value: float) -> str:
    """Return a p-value for people, to three decimals."""
    return "p < 0.001" if p_value < 0.001 else f"p {p_value:.3f}"


def arrange_gains(comparisons: Iterable[Comparison], overview: Overview) -> Overview:
    """Arrange comparisons under the columns of a run's table, by their headline metrics.

    A line's setting says what is compared with what: with the same model in another setting, or with another model.
    """
    by_pair: dict[tuple[Line, tuple[str, str, str]], dict[str, Comparison]] = {}
    for one in comparisons:
        by_pair.setdefault((_line(one), one.cell[3:]), {})[one.metric] = one
    places = {(column.task, column.dataset, column.split): column for column in overview.columns}
    cells = {
        (line, places[place]): _cell(places[place], metrics)
        for (line, place), metrics in by_pair.items()
        if place in places and places[place].metric in metrics
    }
    shown = {column for _, column in cells}
    lines = dict.fromkeys(line for line, _ in by_pair if any(there == line for there, _ in cells))
    models = [line.model for line in overview.lines]
    ordered = sorted(lines, key=lambda line: (models.index(line.model), line.setting))
    return Overview(overview.run_id, tuple(ordered), tuple(c for c in overview.columns if c in shown), cells)


def _line(one: Comparison) -> Line:
    model, _, setting, *_ = one.cell
    other_model, _, other_setting, *_ = one.over
    return Line(model, "", f"{setting} over {other_setting if other_model == model else other_model}")


def _cell(column: Column, metrics: Mapping[str, Comparison]) -> GainCell:
    headline, accuracy = metrics[column.metric], metrics.get("accuracy")
    return GainCell(
        value=headline.gain,
        ci_low=headline.ci_low,
        ci_high=headline.ci_high,
        success_rate=math.nan,
        n_failed=0,
        best=headline.p_value < SIGNIFICANT,
        incomplete=None,
        p_value=headline.p_value,
        accuracy=None if accuracy is None or column.metric == "accuracy" else (accuracy.gain, accuracy.p_value),
    )
