"""The results table as text for other programs and pages: Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from mmsoc_ray.results.comparisons import Comparison
from mmsoc_ray.results.escape import markdown_cell
from mmsoc_ray.results.footnotes import footnotes
from mmsoc_ray.results.gain_overview import GAIN_NOTES, arrange_gains
from mmsoc_ray.results.overview import Cell, Column, Incomplete, Overview, arrange
from mmsoc_ray.results.schema import RESULT_SCHEMA
from mmsoc_ray.results.table import ResultRow, sort_rows
from mmsoc_ray.results.trainings import TRAINING_NOTE, training_table
from mmsoc_ray.training.adapters import AdapterCard


def to_markdown(
    rows: Iterable[ResultRow],
    *,
    notes: Sequence[str] = (),
    incomplete: Incomplete | None = None,
    comparisons: Sequence[Comparison] = (),
    adapters: Sequence[AdapterCard] = (),
) -> str:
    """Return the results of one run as a Markdown table with its footnotes, what fine-tuning gained, and how.

    Models and settings by tasks as in the terminal, in one table: a page scrolls.

    Raises:
        ValueError: If the rows are those of several runs.
    """
    overview = arrange(rows, incomplete)
    lines = [*_table(overview), ""]
    lines.extend(f"- {markdown_cell(note)}" for note in footnotes(overview, notes))
    gained = arrange_gains(comparisons, overview)
    if gained.lines:
        lines += ["", "What fine-tuning gained", "", *_table(gained), "", *(f"- {note}" for note in GAIN_NOTES)]
    if adapters:
        heading, *trained = training_table(adapters)
        lines += ["", "How the adapters were trained", "", _row(heading), _row(["---"] * len(heading))]
        lines += [*(_row(map(markdown_cell, row)) for row in trained), "", f"- {TRAINING_NOTE}"]
    return "\n".join(lines) + "\n"


def _table(overview: Overview) -> list[str]:
    lines = [
        _row(["model", "setting", *(_heading(column) for column in overview.columns)]),
        _row(["---"] * (2 + len(overview.columns))),
    ]
    for line in overview.lines:
        cells = [_cell(overview.cells.get((line, column)), column.digits) for column in overview.columns]
        lines.append(_row([markdown_cell(line.model), markdown_cell(line.setting_and_adapter), *cells]))
    return lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def to_csv(rows: Iterable[ResultRow]) -> str:
    """Return all rows, every metric, as CSV with the columns of ``RESULT_SCHEMA``; NaN is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RESULT_SCHEMA.names)
    for row in sort_rows(rows):
        values = asdict(row)
        writer.writerow(["" if _is_nan(values[name]) else values[name] for name in RESULT_SCHEMA.names])
    return text.getvalue()


def to_json(rows: Iterable[ResultRow]) -> str:
    """Return all rows, every metric, as a JSON list of objects; what is not a finite number is null."""
    objects = [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in pairs.items()
        }
        for pairs in map(asdict, sort_rows(rows))
    ]
    return json.dumps(objects, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _heading(column: Column) -> str:
    task = markdown_cell(column.task) + (" ↓" if column.lower_is_better else "")
    return f"{task}<br>{markdown_cell(column.metric)}<br>{markdown_cell(column.dataset)} ({column.n_text})"


def _cell(cell: Cell | None, digits: int) -> str:
    if cell is None:
        return "·"
    value = f"**{cell.value_text(digits)}**" if cell.best else cell.value_text(digits)
    lines = [f"{value} {cell.interval_text(digits)}".strip(), cell.success_text, cell.failed_text]
    return "<br>".join(line for line in lines if line).replace("\n", "<br>")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
