"""The results table as people see it: in a terminal and as a picture of one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from mmsoc_ray.results.comparisons import Comparison
from mmsoc_ray.results.escape import printable
from mmsoc_ray.results.export import to_csv, to_json, to_markdown
from mmsoc_ray.results.footnotes import footnotes
from mmsoc_ray.results.gain_overview import GAIN_NOTES, arrange_gains
from mmsoc_ray.results.overview import Cell, Column, Incomplete, Line, Overview, arrange
from mmsoc_ray.results.table import ResultRow
from mmsoc_ray.results.trainings import TRAINING_NOTE, training_table
from mmsoc_ray.training.adapters import AdapterCard

__all__ = ["render_table", "save_svg", "to_csv", "to_json", "to_markdown"]

LABEL_WIDTH = 26
"""A longer name of a model or setting is folded."""
GAP = 2
"""Columns between two columns of the table: padding of one, divider of one."""
SVG_WIDTH = 120
SVG_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def render_table(
    rows: Iterable[ResultRow],
    *,
    notes: Sequence[str] = (),
    incomplete: Incomplete | None = None,
    comparisons: Sequence[Comparison] = (),
    adapters: Sequence[AdapterCard] = (),
    width: int | None = None,
) -> RenderableType:
    """Return the results of one run as a table for the terminal: models and settings by tasks.

    Each cell holds the task's headline metric with its interval and, beneath, the success rate. Where the tasks do not
    fit side by side, they are stacked in bands of equal size.

    Args:
        rows: All metrics of a run's cells.
        notes: What else a reader must know, one line each.
        incomplete: Cells short of predictions; they are marked instead of scored.
        comparisons: What fine-tuned cells gained, shown in a table of its own beneath.
        adapters: Cards of the adapters in the rows; how they were trained is shown at the end.
        width: Columns to fill; by default those of the console that prints it.

    Raises:
        ValueError: If the rows are those of several runs.
    """
    overview = arrange(rows, incomplete)
    return _Rendered(overview, tuple(notes), width, arrange_gains(comparisons, overview), tuple(adapters))


def save_svg(
    rows: Iterable[ResultRow],
    path: Path | str,
    title: str,
    *,
    notes: Sequence[str] = (),
    incomplete: Incomplete | None = None,
    comparisons: Sequence[Comparison] = (),
    adapters: Sequence[AdapterCard] = (),
    width: int = SVG_WIDTH,
) -> None:
    """Write a picture of the table in a terminal of ``width`` columns; the same rows give the same bytes.

    It loads nothing from anywhere: rich's own pictures fetch a font, this one uses what the reader has.

    Raises:
        ValueError: If the rows are those of several runs.
    """
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor", _environ={}
    )
    about: Any = {"notes": notes, "incomplete": incomplete, "comparisons": comparisons, "adapters": adapters}
    console.print(render_table(rows, **about))
    picture = console.export_svg(title=printable(title), unique_id="mmsoc-results")
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL).replace("Fira Code, monospace", SVG_FONTS)
    picture = "\n".join(line.rstrip() for line in picture.splitlines()) + "\n"
    Path(path).write_text(picture, encoding="utf-8", newline="\n")


@dataclass(frozen=True)
class _Rendered:
    overview: Overview
    notes: tuple[str, ...]
    width: int | None
    gains: Overview
    adapters: tuple[AdapterCard, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(self.width or options.max_width, options.max_width)
        if not self.overview.lines:
            yield Text("no results", style="dim")
        yield from _tables(self.overview, width)
        for note in footnotes(self.overview, self.notes):
            yield Text(note, style="dim")
        if self.gains.lines:
            yield Text("\nWhat fine-tuning gained\n", style="bold")
            yield from _tables(self.gains, width)
            for note in GAIN_NOTES:
                yield Text(note, style="dim")
        if self.adapters:
            yield Text("\nHow the adapters were trained\n", style="bold")
            yield _trainings(self.adapters)
            yield Text(f"\n{TRAINING_NOTE}", style="dim")


def _trainings(adapters: Sequence[AdapterCard]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    heading, *rows = training_table(adapters)
    for name in heading:
        no_wrap = name not in ("adapter", "model")
        table.add_column(Text(name, style="not bold dim"), overflow="fold", no_wrap=no_wrap)
    for row in rows:
        table.add_row(*map(Text, map(printable, row)))
    return table


def _tables(overview: Overview, width: int) -> Iterator[RenderableType]:
    bands, widths = _bands(overview, width)
    for band in bands:
        yield _band(overview, band, widths)
        yield ""


def _bands(overview: Overview, width: int) -> tuple[list[tuple[Column, ...]], dict[Column, int]]:
    """Cut the columns into as few bands as fit, and say how wide each column is.

    Bands differ by one column at most, so that the last one is not left with a single task, and where there is room
    for it all columns are as wide as the widest, so that bands stand in line.
    """
    columns = overview.columns
    room = width - _label_width(overview.lines)
    widths = {column: _column_width(overview, column) for column in columns}
    bands: list[tuple[Column, ...]] = []
    for count in range(1, len(columns) + 1):
        bands = _cut(columns, count)
        if all(sum(widths[column] + GAP for column in band) <= room for band in bands):
            break
    widest = max(widths.values(), default=0)
    if max(map(len, bands), default=0) * (widest + GAP) <= room:
        widths = dict.fromkeys(columns, widest)
    return bands, widths


def _cut(columns: tuple[Column, ...], count: int) -> list[tuple[Column, ...]]:
    size, larger = divmod(len(columns), count)
    starts = [band * size + min(band, larger) for band in range(count + 1)]
    return [columns[start:end] for start, end in pairwise(starts)]


def _band(overview: Overview, band: Sequence[Column], widths: Mapping[Column, int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(Text("model\nsetting", style="not bold dim"), width=_label_width(overview.lines), overflow="fold")
    for column in band:
        table.add_column(_heading(column), min_width=widths[column], overflow="fold")
    model = overview.lines[0].model
    for line in overview.lines:
        if line.model != model:
            table.add_section()
            model = line.model
        label = Text(printable(line.model), style="bold").append(
            f"\n{printable(line.setting_and_adapter)}", style="not bold"
        )
        table.add_row(label, *(_cell_text(overview.cells.get((line, column)), column.digits) for column in band))
    return table


def _heading(column: Column) -> Text:
    heading = Text(f"{printable(column.task)}{' ↓' if column.lower_is_better else ''}", style="bold cyan")
    for line in _subheadings(column):
        heading.append(f"\n{line}", style="not bold dim default")
    return heading


def _subheadings(column: Column) -> tuple[str, str]:
    return printable(column.metric), f"{printable(column.dataset)} ({column.n_text})"


def _cell_text(cell: Cell | None, digits: int) -> Text:
    if cell is None:
        return Text("·", style="dim")
    text = Text(cell.value_text(digits), style=_value_style(cell))
    if interval := cell.interval_text(digits):
        # The space goes with the value: some viewers of SVG drop it at the start of a text.
        text.append(" ").append(interval, style="not bold dim default")
    if cell.success_text:
        text.append(f"\n{cell.success_text}", style="not bold dim default")
    if cell.failed_text:
        text.append("\n" + cell.failed_text, style="not bold red")
    return text


def _value_style(cell: Cell) -> str:
    if cell.incomplete:
        return "yellow"
    return "bold green" if cell.best else ""


def _label_width(lines: Sequence[Line]) -> int:
    names = [name for line in lines for name in (printable(line.model), printable(line.setting_and_adapter))]
    return min(LABEL_WIDTH, max([len("setting"), *map(cell_len, names)]))


def _column_width(overview: Overview, column: Column) -> int:
    texts = [printable(column.task) + "  ", *_subheadings(column)]
    for line in overview.lines:
        texts.extend(_cell_text(overview.cells.get((line, column)), column.digits).plain.split("\n"))
    return max(map(cell_len, texts))
