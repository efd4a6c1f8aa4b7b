"""What a terminal shows while a run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mmsoc_ray.grid.pace import ModelProgress
from mmsoc_ray.results.escape import printable

COLUMNS = ("model", "", "posts", "posts/s", "mean", "tokens/s", "mean", "errors", "left")
NAME, BAR = 0, 1
EXPENDABLE = ((4, 6), (1,), (5,), (3,))
"""Columns that a narrow terminal does without, in this order: means, bar, tokens/s, posts/s."""
NAME_WIDTH = 28
"""A longer name of a model is cut."""
NAME_WIDTH_LEAST = 18
BAR_WIDTH_LEAST = 8
GAP = 2


@dataclass(frozen=True)
class Screen:
    """One picture of a run: a line per model, a line for all, and what the run is doing.

    Attributes:
        models: In the order of their start.
        phase: What the run is doing, or an empty text.
        phase_begun: The run's clock when it began to do that, in seconds.
        now: The run's clock, in seconds.
        begun: The clock when the run began.
        models_total: Models of the whole run, where known.
    """

    models: Sequence[ModelProgress]
    phase: str
    phase_begun: float
    now: float
    begun: float
    models_total: int | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the width at hand."""
        if self.models:
            yield self._table(options.max_width)
        if self.phase:
            yield Text(f"{printable(self.phase)} … {duration(self.now - self.phase_begun)}", style="cyan")

    def _table(self, width: int) -> Table:
        lines = [*map(self._model_line, self.models), self._total_line()]
        widths = [max(len(heading), *(len(str(line[i])) for line in lines)) for i, heading in enumerate(COLUMNS)]
        widths[BAR] = BAR_WIDTH_LEAST
        shown = _shown(widths, width)
        table = Table(box=None, expand=BAR in shown, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
        for index in shown:
            if index == NAME:
                rest = sum(widths[other] + GAP for other in shown if other != NAME)
                name_width = min(widths[NAME], NAME_WIDTH, max(1, width - rest))
                table.add_column(COLUMNS[index], width=name_width, no_wrap=True, overflow="ellipsis")
            elif index == BAR:
                table.add_column(COLUMNS[index], ratio=1, min_width=BAR_WIDTH_LEAST)
            else:
                table.add_column(COLUMNS[index], justify="right", no_wrap=True, min_width=widths[index])
        for line in lines:
            table.add_row(*(line[index] for index in shown), style="bold" if line is lines[-1] else None)
        return table

    def _model_line(self, model: ModelProgress) -> list[Text | ProgressBar]:
        mean = model.overall(self.now)
        rates = model.recent(self.now) if model.ended is None else mean
        return [
            Text(printable(model.name)),
            _bar(model.requests, model.requests_total),
            Text(f"{model.posts:,}/{model.posts_total:,}"),
            Text(rate(rates.posts)),
            Text(rate(mean.posts), style="dim"),
            Text(rate(rates.output_tokens)),
            Text(rate(mean.output_tokens), style="dim"),
            _errors(model.done.errors),
            self._left(model),
        ]

    def _total_line(self) -> list[Text | ProgressBar]:
        elapsed = max(self.now - self.begun, 1e-9)
        running = [model for model in self.models if model.ended is None]
        recent = [model.recent(self.now) for model in running]
        posts = sum(model.done.posts for model in self.models) / elapsed
        tokens = sum(model.done.output_tokens for model in self.models) / elapsed
        total = max(len(self.models), self.models_total or 0)
        return [
            Text(f"all ({sum(model.complete for model in self.models)} of {total} models)"),
            _bar(sum(model.requests for model in self.models), sum(model.requests_total for model in self.models)),
            Text(f"{sum(model.posts for model in self.models):,}/{sum(model.posts_total for model in self.models):,}"),
            Text(rate(sum(rates.posts for rates in recent) if running else posts)),
            Text(rate(posts), style="dim"),
            Text(rate(sum(rates.output_tokens for rates in recent) if running else tokens)),
            Text(rate(tokens), style="dim"),
            _errors(sum(model.done.errors for model in self.models)),
            Text(self._left_of_all(running, elapsed, unstarted=total - len(self.models))),
        ]

    def _left(self, model: ModelProgress) -> Text:
        if model.ended is None:
            left = model.left(self.now)
            return Text("–" if left is None else duration(left))
        took = duration(model.elapsed(self.now))
        return Text(f"took {took}", style="green") if model.complete else Text(f"stopped {took}", style="yellow")

    def _left_of_all(self, running: Sequence[ModelProgress], elapsed: float, *, unstarted: int) -> str:
        if not running and not unstarted:
            return f"took {duration(elapsed)}"
        times = [left for left in (model.left(self.now) for model in running) if left is not None]
        if len(times) < len(running) or not times:
            return "–"
        # How fast a model is that was not started nobody knows, so the time of those running is a lower bound.
        return f"{'> ' if unstarted else ''}{duration(max(times))}"


def rate(value: float) -> str:
    """Return a rate with about three digits."""
    if value <= 0:
        return "–"
    if value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return seconds as ``0:03:07`` (hours, minutes, seconds)."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02d}:{rest:02d}"


def _shown(widths: Sequence[int], width: int) -> list[int]:
    shown = list(range(len(widths)))
    for expendable in EXPENDABLE:
        name = min(widths[NAME], NAME_WIDTH_LEAST)
        if name + sum(widths[index] + GAP for index in shown if index != NAME) <= width:
            break
        shown = [index for index in shown if index not in expendable]
    return shown


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=done if total else 1)


def _errors(count: int) -> Text:
    return Text(f"{count:,}", style="red" if count else "dim")
