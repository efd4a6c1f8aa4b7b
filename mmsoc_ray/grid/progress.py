"""Live progress of a run: a table of bars on a terminal, lines of ``key=value`` anywhere else."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from mmsoc_ray.grid.pace import ModelProgress, Receipt
from mmsoc_ray.grid.screen import Screen
from mmsoc_ray.results.escape import printable

LINE_EVERY_S = 10.0
"""Away from a terminal, a model's progress is printed at most so often, in seconds."""

__all__ = ["LINE_EVERY_S", "Receipt", "RunProgress"]


class RunProgress:
    """Shows how far a run is. A context manager: the terminal is left in order however the block ends.

    Args:
        console: Where to write; by default standard error.
        clock: Monotonic seconds.
        models_total: Models of the whole run, those that were not started yet included, where known.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        models_total: int | None = None,
    ) -> None:
        # Asked of the file, not of rich: FORCE_COLOR makes rich call a log file a terminal.
        self._console = console or Console(stderr=True, force_terminal=sys.stderr.isatty())
        self._clock = clock
        self._models_total = models_total
        self._models: dict[str, ModelProgress] = {}
        self._printed: dict[str, float] = {}
        self._phase = ""
        self._begun = self._phase_begun = clock()
        self._lock = threading.RLock()  # rich draws from a thread of its own
        self._live: Live | None = None

    @property
    def models(self) -> tuple[ModelProgress, ...]:
        """Progress of each model, in the order of their start."""
        return tuple(self._models.values())

    def __enter__(self) -> RunProgress:
        self._begun = self._clock()
        if self._console.is_interactive:
            self._live = Live(console=self._console, get_renderable=self.render, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for model in self.models:
            if model.ended is None:
                self.end_model(model.name)
        with self._lock:
            self._phase = ""
        if self._models:
            self._line("total", self._total_fields(), stopped=kind.__name__ if kind else None)
        if self._live:
            live, self._live = self._live, None
            live.stop()

    def expect_models(self, count: int) -> None:
        """Say how many models the whole run has, so that the time left is known as a lower bound until the last."""
        with self._lock:
            self._models_total = count

    def start_model(
        self,
        name: str,
        posts_total: int,
        requests_total: int,
        posts_done_before: int = 0,
        requests_done_before: int | None = None,
    ) -> None:
        """Open a model's line.

        Args:
            name: The model.
            posts_total: All its posts, those done by an earlier process included.
            requests_total: All its requests, likewise.
            posts_done_before: Posts that an earlier process left durable; rates leave them out.
            requests_done_before: Their requests; where not given, in proportion to the posts.
        """
        if requests_done_before is None:
            requests_done_before = round(requests_total * posts_done_before / posts_total) if posts_total else 0
        model = ModelProgress(
            name, posts_total, requests_total, posts_done_before, requests_done_before, started=self._clock()
        )
        with self._lock:
            self._models[name] = model
            self._printed[name] = model.started
        self._line("start", _model_fields(model, model.started))

    def unit_done(self, receipt: Receipt) -> None:
        """Count a unit that has become durable.

        Raises:
            ValueError: If the receipt's model was not started.
        """
        if receipt.model not in self._models:
            raise ValueError(
                f"receipt of unit {receipt.unit_id!r} for model {receipt.model!r}, which was not started; "
                f"started are: {', '.join(self._models) or 'none'}"
            )
        now = self._clock()
        with self._lock:
            model = self._models[receipt.model]
            if not model.add(receipt, now):
                return
            if len(model.units) == 1:
                self._phase = ""  # a first unit proves that what came before is over
        if now - self._printed[model.name] >= LINE_EVERY_S and not model.complete:
            self._printed[model.name] = now
            self._line("progress", _model_fields(model, now))

    def end_model(self, name: str | None = None) -> None:
        """Close a model's line, by default that of the model started last."""
        now = self._clock()
        with self._lock:
            open_models = [model for model in self.models if model.ended is None and name in (None, model.name)]
            if not open_models:
                return
            open_models[-1].ended = now
        self._line("end" if open_models[-1].complete else "stop", _model_fields(open_models[-1], now))

    def phase(self, text: str) -> None:
        """Say what the run is doing now, for example ``loading weights``; an empty text clears it."""
        with self._lock:
            if text == self._phase:
                return
            self._phase, self._phase_begun = text, self._clock()
        if text:
            self._line("phase", {"text": text})

    def note(self, text: str) -> None:
        """Say something that stays on the screen, above the table."""
        if self._live:
            self._console.print(Text(printable(text)))
        self._line("note", {"text": text})

    def abort(self, text: str) -> None:
        """Say why the process ends at once, and leave the terminal in order."""
        self.note(text)
        if self._live:
            self._live.stop()

    def render(self) -> RenderableType:
        """Return what a terminal shows now."""
        with self._lock:
            return Screen(self.models, self._phase, self._phase_begun, self._clock(), self._begun, self._models_total)

    def _total_fields(self) -> dict[str, str]:
        models = self.models
        elapsed = self._clock() - self._begun
        return {
            "models": f"{sum(model.complete for model in models)}/{max(len(models), self._models_total or 0)}",
            "posts": f"{sum(model.posts for model in models)}/{sum(model.posts_total for model in models)}",
            "requests": f"{sum(model.requests for model in models)}/{sum(model.requests_total for model in models)}",
            "errors": str(sum(model.done.errors for model in models)),
            "posts_per_s": _per_second(sum(model.done.posts for model in models), elapsed, digits=2),
            "tokens_per_s": _per_second(sum(model.done.output_tokens for model in models), elapsed, digits=1),
        }

    def _line(self, event: str, fields: dict[str, str], stopped: str | None = None) -> None:
        if self._live:
            return
        pairs = {"event": event, "t_s": f"{self._clock() - self._begun:.1f}", **fields}
        if stopped:
            pairs["stopped_by"] = stopped
        line = " ".join(f"{key}={_log_value(value)}" for key, value in pairs.items())
        # A log that cannot hold a name's characters must not end the run.
        encoding = self._console.encoding
        self._console.out(line.encode(encoding, "backslashreplace").decode(encoding), highlight=False)


def _per_second(amount: int, seconds: float, *, digits: int) -> str:
    return f"{amount / seconds if seconds > 0 else 0.0:.{digits}f}"


def _log_value(value: str) -> str:
    plain = value and value.isprintable() and not set(value) & set(' "=\\')
    return value if plain else printable(json.dumps(value, ensure_ascii=False))


def _model_fields(model: ModelProgress, now: float) -> dict[str, str]:
    rates = model.overall(now) if model.ended is not None else model.recent(now)
    left = model.left(now)
    return {
        "model": model.name,
        "posts": f"{model.posts}/{model.posts_total}",
        "requests": f"{model.requests}/{model.requests_total}",
        "errors": str(model.done.errors),
        "posts_per_s": f"{rates.posts:.2f}",
        "tokens_per_s": f"{rates.output_tokens:.1f}",
        "elapsed_s": f"{model.elapsed(now):.1f}",
        "left_s": "unknown" if left is None else f"{left:.0f}",
    }
