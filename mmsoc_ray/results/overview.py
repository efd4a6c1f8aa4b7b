"""The results of one run, arranged for reading: models and settings by tasks, one headline metric a cell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mmsoc_ray.results.cells import HEADLINE, higher_is_better
from mmsoc_ray.results.table import CellKey, ResultRow
from mmsoc_ray.tasks import TASKS
from mmsoc_ray.tasks.metric_names import COUNTED

BASELINE_FAMILY = "baseline"
NO_ADAPTER = ("", "none")
SETTING_ORDER = (
    "zero_shot",
    "few_shot",
    "text_only",
    "image_only",
    "with_ocr",
    "self_improve",
    "finetuned",
    "finetuned_explained",
)
FALLBACK_METRICS = ("macro_f1", "sample_f1", "word_error_rate", "rouge_l", "accuracy")
"""Headline of a task that ``HEADLINE`` does not know: the first of these that it has. Cells of ``mmsoc explain`` have
counts only, and show the share that could be read."""

Incomplete = Mapping[CellKey, tuple[int, int]]
"""Cells short of predictions: how many are there, how many there should be."""


@dataclass(frozen=True)
class Line:
    """A line of the table: a model, its adapter and a setting."""

    model: str
    adapter: str
    setting: str

    @property
    def setting_and_adapter(self) -> str:
        """The setting, with the adapter where there is one."""
        return self.setting if self.adapter in NO_ADAPTER else f"{self.setting}, {self.adapter}"


@dataclass(frozen=True)
class Column:
    """A column of the table: a task on a split of a dataset, by its headline metric."""

    task: str
    dataset: str
    split: str
    metric: str
    n: tuple[int, int]

    @property
    def lower_is_better(self) -> bool:
        """Whether the best value of the column is its lowest."""
        return not higher_is_better(self.metric)

    @property
    def digits(self) -> int:
        """Decimals worth reading: below 2,000 posts the third lies far inside the interval."""
        return 3 if self.n[1] >= 2000 else 2

    @property
    def n_text(self) -> str:
        """Posts of the column's cells, as a range where they differ."""
        low, high = self.n
        return f"{low:,}" if low == high else f"{low:,}–{high:,}"


@dataclass(frozen=True)
class Cell:
    """What stands where a line and a column cross."""

    value: float
    ci_low: float
    ci_high: float
    success_rate: float
    n_failed: int
    best: bool
    incomplete: tuple[int, int] | None

    def value_text(self, digits: int) -> str:
        """The headline metric, or ``incomplete (n/m)``, or ``undefined``."""
        if self.incomplete:
            return f"incomplete ({self.incomplete[0]:,}/{self.incomplete[1]:,})"
        return "undefined" if math.isnan(self.value) else _number(self.value, digits)

    def interval_text(self, digits: int) -> str:
        """The interval as ``[low, high]``; empty where there is none."""
        if self.incomplete or math.isnan(self.ci_low) or math.isnan(self.ci_high):
            return ""
        return f"[{_number(self.ci_low, digits)}, {_number(self.ci_high, digits)}]"

    @property
    def success_text(self) -> str:
        """``ok 97 %``: the success rate, never rounded up to 100 nor down to 0; empty where it is unknown."""
        if self.incomplete or math.isnan(self.success_rate):
            return ""
        percent = 100 * self.success_rate
        if 0 < percent < 1 or 99 < percent < 100:
            return f"ok {min(max(percent, 0.1), 99.9):.1f} %"
        return f"ok {percent:.0f} %"

    @property
    def failed_text(self) -> str:
        """``2 failed``; empty where nothing failed."""
        return f"{self.n_failed:,} failed" if self.n_failed else ""


@dataclass(frozen=True)
class Overview:
    """A run's table, arranged.

    Attributes:
        run_id: The run.
        lines: Models by family and size, each with its settings; baselines last.
        columns: Tasks in the order of MM-Soc, others after them by name; each with its datasets.
        cells: What is there; a crossing that the grid does not cover is absent.
    """

    run_id: str
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[Line, Column], Cell]


def arrange(rows: Iterable[ResultRow], incomplete: Incomplete | None = None) -> Overview:
    """Arrange the rows of one run.

    Raises:
        ValueError: If the rows are those of several runs.
    """
    rows = list(rows)
    incomplete = incomplete or {}
    run_ids = sorted({row.run_id for row in rows})
    if len(run_ids) > 1:
        raise ValueError(f"a table shows one run, the rows hold {len(run_ids)}: {', '.join(run_ids)}. Choose one.")
    by_cell: dict[CellKey, dict[str, ResultRow]] = {}
    for row in rows:
        by_cell.setdefault(row.cell, {})[row.metric] = row
    keys = {*by_cell, *incomplete}
    columns = {place: _column(place, by_cell, keys, incomplete) for place in {key[3:] for key in keys}}
    ordered = sorted(columns.values(), key=_column_order)
    models = {row.model: row for row in rows}
    lines = sorted({Line(*key[:3]) for key in keys}, key=lambda line: _line_order(line, models.get(line.model)))
    cells: dict[tuple[Line, Column], Cell] = {}
    for column in ordered:
        inside = {Line(*key[:3]): key for key in keys if key[3:] == (column.task, column.dataset, column.split)}
        best = _best(column, (by_cell.get(key, {}) for key in inside.values() if key not in incomplete))
        for line, key in inside.items():
            cells[line, column] = _cell(column, by_cell.get(key, {}), best, incomplete.get(key))
    return Overview(run_ids[0] if run_ids else "", tuple(lines), tuple(ordered), cells)


def _column(
    place: tuple[str, ...], by_cell: Mapping[CellKey, Mapping[str, ResultRow]], keys: set[CellKey], short: Incomplete
) -> Column:
    task, dataset, split = place
    inside = [key for key in keys if key[3:] == place]
    metrics = {metric for key in inside for metric in by_cell.get(key, {})}
    counts = [row.n for key in inside if key not in short for row in by_cell.get(key, {}).values()]
    counts = counts or [short[key][1] for key in inside if key in short]
    return Column(task, dataset, split, _headline(task, metrics), (min(counts), max(counts)))


def _headline(task: str, metrics: set[str]) -> str:
    if task in HEADLINE and (HEADLINE[task] in metrics or not metrics):
        return HEADLINE[task]
    present = [metric for metric in FALLBACK_METRICS if metric in metrics]
    return present[0] if present else min(metrics - set(COUNTED), default="success_rate")


def _best(column: Column, cells: Iterable[Mapping[str, ResultRow]]) -> float | None:
    """Return the best value, or None where there is nothing that it is better than."""
    values = [cell[column.metric].value for cell in cells if column.metric in cell]
    values = [value for value in values if not math.isnan(value)]
    if len(set(values)) < 2:
        return None
    return min(values) if column.lower_is_better else max(values)


def _cell(
    column: Column, metrics: Mapping[str, ResultRow], best: float | None, incomplete: tuple[int, int] | None
) -> Cell:
    headline = metrics.get(column.metric)
    success = metrics.get("success_rate")
    return Cell(
        value=headline.value if headline else math.nan,
        ci_low=headline.ci_low if headline else math.nan,
        ci_high=headline.ci_high if headline else math.nan,
        success_rate=success.value if success else math.nan,
        n_failed=max((row.n_failed for row in metrics.values()), default=0),
        best=best is not None and incomplete is None and headline is not None and headline.value == best,
        incomplete=incomplete,
    )


def _column_order(column: Column) -> tuple[int, str, str, str]:
    known = list(TASKS)
    place = known.index(column.task) if column.task in known else len(known)
    return (place, column.task, column.dataset, column.split)


def _line_order(line: Line, row: ResultRow | None) -> tuple[bool, str, float, str, str, int, int, str]:
    family = row.family if row else line.model
    parameters = row.parameters_b if row and not math.isnan(row.parameters_b) else math.inf
    adapter = "" if line.adapter in NO_ADAPTER else line.adapter
    base, shots = line.setting, 0
    numbered = re.fullmatch(r"(\w+?)_(\d+)", line.setting)
    if numbered:
        base, shots = numbered[1], int(numbered[2])
    place = SETTING_ORDER.index(base) if base in SETTING_ORDER else len(SETTING_ORDER)
    return (family == BASELINE_FAMILY, family, parameters, line.model, adapter, place, shots, line.setting)


def _number(value: float, digits: int) -> str:
    """Return a number in about the same width whatever its size: a word error rate may be 0.31 or 113."""
    size = abs(value)
    return f"{value:.{digits if size < 10 else 1 if size < 100 else 0}f}"
