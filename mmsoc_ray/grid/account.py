"""The driver's account of a run: sums up receipts and times, and writes them below the run now and then."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from mmsoc_ray.data import Storage
from mmsoc_ray.errors import StorageError
from mmsoc_ray.grid.pace import Receipt
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.stats import JobStats, ModelStats
from mmsoc_ray.grid.usage import peak_memory

WRITE_EVERY_S = 30.0
"""A driver that is killed leaves what it knew so many seconds before, at most."""


class RunAccount:
    """What one process of a run does with its time. A context manager: the last word is written at its end.

    Nothing rests on it, so a failure to write it is said and stops nothing. What it holds does not grow with the data.

    Args:
        root: Output root.
        folder: The run.
        note: Told where it cannot be written.
        opening_s: Seconds that opening the run took.
        clock: Monotonic seconds.
        time_of_day: Seconds since 1970.
    """

    def __init__(
        self,
        root: Storage,
        folder: RunFolder,
        note: Callable[[str], None],
        *,
        opening_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self._root, self._folder, self._note = root, folder, note
        self._clock, self._time_of_day = clock, time_of_day
        now = datetime.now(UTC)
        job = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self.stats = JobStats(run_id=folder.run_id, job=job, started_at=now, opening_s=opening_s)
        self._begun = self._written = clock()
        self._model: ModelStats | None = None
        self._streaming: float | None = None
        self._streaming_since = 0.0

    def __enter__(self) -> RunAccount:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stats.ended = error is None
        if not isinstance(error, StorageError):  # it would be waited for once more
            self._write()

    @contextlib.contextmanager
    def timed(self, part: Literal["ray_s", "aggregate_s"]) -> Iterator[None]:
        """Count the seconds of the block as a part of the run."""
        started = self._clock()
        try:
            yield
        finally:
            setattr(self.stats, part, self._clock() - started)

    @contextlib.contextmanager
    def model(self, name: str, stats: ModelStats) -> Iterator[None]:
        """Count what happens in the block as one model's."""
        self._model = self.stats.models[name] = stats
        try:
            yield
        finally:
            self._model = None
        self._write()

    @contextlib.contextmanager
    def taking_over(self) -> Iterator[None]:
        """Count the seconds of the block as the model's, of taking answers over."""
        started = self._clock()
        try:
            yield
        finally:
            self._current.take_over_s += self._clock() - started

    @contextlib.contextmanager
    def streaming(self) -> Iterator[None]:
        """Count the seconds of the block as the model's stream."""
        self._streaming, self._streaming_since = self._clock(), self._time_of_day()
        try:
            yield
        finally:
            self._current.stream_s = self._clock() - self._streaming
            self._streaming = None

    def taken(self, receipt: Receipt) -> None:
        """Count a unit that was taken over."""
        self._current.taken_over(receipt)

    def answered(self, receipt: Receipt) -> None:
        """Count a unit that came out of the model's stream."""
        now = self._clock()
        passed = 0.0 if self._streaming is None else now - self._streaming
        # By clocks of other nodes, which may be ahead or behind.
        ended = receipt.ended_at - self._streaming_since if receipt.ended_at else passed
        self._current.answered(receipt, min(max(0.0, ended), passed))
        if now - self._written >= WRITE_EVERY_S:
            self._write()

    @property
    def _current(self) -> ModelStats:
        if self._model is None:
            raise RuntimeError("no model is under way")
        return self._model

    def _write(self) -> None:
        now = self._written = self._clock()
        if not self.stats.worked:
            return
        if self._model is not None and self._streaming is not None:
            self._model.stream_s = now - self._streaming
        self.stats.wall_s = self.stats.opening_s + now - self._begun
        self.stats.driver_peak_bytes = peak_memory()
        path = f"{self._folder.stats}/{self.stats.job}.json"
        try:
            self._root.write(path, self.stats.model_dump_json(indent=1).encode())
        except OSError as error:
            self._note(f"the run's statistics cannot be written: {error}")
