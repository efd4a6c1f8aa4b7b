"""What a training tells of itself on the way: curves for the card, a line for people, and when to stop early."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch

from mmsoc_ray.training.adapters import CurvePoint
from mmsoc_ray.training.board import News
from mmsoc_ray.training.loop import StepReport, Training

POINTS = 100
"""About so many points has a curve, besides those of validation."""


@dataclass(frozen=True)
class Checked:
    """What the validation posts say.

    Attributes:
        loss: Mean loss of an answer token, in nats.
        metrics: ``<dataset>/<task>/<metric>`` to its value.
    """

    loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)


class Curves:
    """Notes steps and checks, and remembers the best weights where the training may stop early.

    Attributes:
        points: What was measured.
        best_step: Step of the lowest validation loss; 0 before the first check.
        best: What was learnt by then; empty unless the recipe has ``patience``: the last weights count then.
        stopped: Whether the checks have not got better for too long.
    """

    def __init__(self, training: Training, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing measured."""
        self._training, self._clock = training, clock
        self.points: list[CurvePoint] = []
        self.best_step, self._best_loss, self._worse = 0, float("inf"), 0
        self.best: dict[str, torch.Tensor] = {}
        self.stopped = False
        self._every = max(1, training.total // POINTS)
        self._began_at, self._begun = training.step, clock()
        self._start_point()

    def add(self, report: StepReport) -> None:
        """Note a step."""
        self._loss += report.loss
        self._tokens += report.tokens
        self._samples += report.samples
        self._rate = report.learning_rate

    def check(self, ask: Callable[[], Checked]) -> None:
        """Ask the validation posts, note what they say, and remember the weights where they are the best so far."""
        seconds = self._clock() - self._since  # learning only
        found = ask()
        self._add_point(seconds, found)
        validation = self._training.recipe.validation
        if validation is None or validation.patience is None:
            return
        if found.loss < self._best_loss:
            self._best_loss, self.best_step, self._worse = found.loss, self._training.step, 0
            self.best = self._training.trainable.state()
        else:
            self._worse += 1
            self.stopped = self._worse >= validation.patience

    @property
    def due(self) -> bool:
        """Whether the curve wants a point at this step."""
        return self._training.finished or self._training.step % self._every == 0

    def point(self) -> None:
        """Add a point of what was noted since the one before."""
        self._add_point(self._clock() - self._since)

    def _add_point(self, seconds: float, found: Checked | None = None) -> None:
        self.points.append(
            CurvePoint(
                step=self._training.step,
                loss=self._loss / self._tokens if self._tokens else None,
                learning_rate=self._rate,
                samples_per_s=self._samples / max(1e-9, seconds),
                validation_loss=None if found is None else found.loss,
                validation={} if found is None else dict(found.metrics),
            )
        )
        self._start_point()

    def _start_point(self) -> None:
        self._loss, self._tokens, self._samples, self._rate = 0.0, 0, 0, 0.0
        self._since = self._clock()

    def line(self) -> str:
        """Return the last point for people: step, loss, speed, time left, validation."""
        point, total = self.points[-1], self._training.total
        parts = [f"step {point.step:,} of {total:,}"]
        if point.loss is not None:
            parts.append(f"loss {point.loss:.3f}")
        parts.append(f"{point.samples_per_s or 0:.1f} samples/s")
        taken = point.step - self._began_at
        if taken and point.step < total:
            left = (self._clock() - self._begun) / taken * (total - point.step)
            parts.append(f"{timedelta(seconds=round(left))} left")
        if point.validation_loss is not None:
            parts.append(f"validation loss {point.validation_loss:.3f}")
            parts += [f"{name} {value:.3f}" for name, value in point.validation.items()]
        return ", ".join(parts)

    @property
    def news(self) -> News:
        """The last point, as it is told."""
        return News(self.line(), self.points[-1])

    def state(self) -> dict[str, Any]:
        """Return all of it as plain values and tensors, for a checkpoint."""
        return {
            "points": [point.model_dump() for point in self.points],
            "best": self.best,
            "best_step": self.best_step,
            "best_loss": self._best_loss,
            "worse": self._worse,
            "stopped": self.stopped,
            "open": [self._loss, self._tokens, self._samples, self._rate],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``; the training was restored before."""
        self.points = [CurvePoint.model_validate(point) for point in state["points"]]
        self.best, self.best_step, self._best_loss = state["best"], state["best_step"], state["best_loss"]
        self._worse, self.stopped = state["worse"], state["stopped"]
        self._loss, self._tokens, self._samples, self._rate = state["open"]
        self._began_at = self._training.step
