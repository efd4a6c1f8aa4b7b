"""The statistics of a run: what each of its processes did with its time, as they stand in ``stats/<job>.json``.

No digest covers them: two runs with the same answers never take the same time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmsoc_ray.data import Storage
from mmsoc_ray.grid.pace import CellWork, Receipt
from mmsoc_ray.grid.run_folder import RunFolder

STATS_VERSION = 1
READERS = 16
"""Threads that read statistics: on S3 each of them waits most of the time."""

Seconds = Annotated[float, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


def cell_key(setting: str, task: str, dataset: str) -> str:
    """Return what names a cell among those of one model."""
    return f"{setting}/{task}/{dataset}"


class CellStats(_Record):
    """What an engine was asked of one cell: requests and tokens."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def computed_tokens(self) -> int:
        """Tokens that the engine computed: those of prompts that it had not cached, and those of answers."""
        return self.prompt_tokens - self.cached_tokens + self.output_tokens

    def add(self, work: CellWork | CellStats) -> None:
        """Count more of it."""
        self.requests += work.requests
        self.prompt_tokens += work.prompt_tokens
        self.cached_tokens += work.cached_tokens
        self.output_tokens += work.output_tokens


class Estimate(_Record):
    """What was expected of a model before it started.

    Attributes:
        basis: The run whose figures it rests on; ``assumed`` where it rests on the registry.
        overhead_s: Seconds beside answering: start-up and tail; None where not known.
        request_s: Seconds per request by ``cell_key``.
    """

    basis: str
    overhead_s: Seconds | None = None
    request_s: dict[str, Seconds] = {}


class ModelStats(_Record):
    """What one process of a run did with one model. Times in seconds, of the driver's clock where not said otherwise.

    Attributes:
        engine: Name of its engine.
        version: The engine's version; empty where it was not asked.
        dtype: Precision; None for a baseline and an endpoint.
        actors: Engines side by side.
        gpus: GPUs of each.
        gpu: Name of the GPU; None without one, and where it is not known.
        posts: Posts that became durable through its engines.
        errors: Requests that ended in an error.
        reused: Answers that were taken over from earlier runs, in units with and without an engine.
        cells: What its engines were asked, by ``cell_key``.
        take_over_s: Looking for known answers, and writing the units that need no engine.
        stream_s: From the start of its stream to the end.
        begin_s: From there until an engine began with its first unit; None where none did.
        first_s: From there until the first unit was answered; likewise.
        last_s: From there until the last unit was answered.
        first_wait_s: Of the first engine that answered: waiting for its first unit.
        imports_s: Of the same: importing its libraries.
        weights_s: Of the same: loading weights.
        busy_s: Seconds in which an engine answered, summed over engines.
        wait_s: Seconds in which a loaded engine waited for data, summed over engines.
        sink_s: Seconds of making units durable, beside the engines.
        engine_peak_bytes: Highest resident memory of an engine's process.
        prepare_peak_bytes: Highest resident memory of a process that prepared units.
        gpu_peak_bytes: Highest memory of one engine on its GPUs; None without one, and where it is not known.
        estimate: What was expected.
    """

    engine: str
    version: str = ""
    dtype: str | None = None
    actors: int = 1
    gpus: float = 0.0
    gpu: str | None = None
    posts: int = 0
    errors: int = 0
    reused: int = 0
    cells: dict[str, CellStats] = {}
    take_over_s: Seconds = 0.0
    stream_s: Seconds = 0.0
    begin_s: Seconds | None = None
    first_s: Seconds | None = None
    last_s: Seconds = 0.0
    first_wait_s: Seconds = 0.0
    imports_s: Seconds | None = None
    weights_s: Seconds | None = None
    busy_s: Seconds = 0.0
    wait_s: Seconds = 0.0
    sink_s: Seconds = 0.0
    engine_peak_bytes: int = 0
    prepare_peak_bytes: int = 0
    gpu_peak_bytes: int | None = None
    estimate: Estimate | None = None

    @property
    def asked(self) -> CellStats:
        """Requests and tokens over all cells."""
        total = CellStats()
        for cell in self.cells.values():
            total.add(cell)
        return total

    @property
    def worked(self) -> bool:
        """Whether anything became durable."""
        return bool(self.posts or self.reused)

    @property
    def answering_s(self) -> float | None:
        """Seconds from the begin of its first unit to the end of its last: what rates are over."""
        return None if self.begin_s is None else self.last_s - self.begin_s

    @property
    def first_answer_s(self) -> float | None:
        """Seconds of its first unit."""
        return None if self.first_s is None or self.begin_s is None else self.first_s - self.begin_s

    @property
    def processes_s(self) -> float | None:
        """Seconds of starting processes: what is left of ``begin_s`` without imports, weights and first data."""
        if self.begin_s is None or self.weights_s is None:
            return None
        return max(0.0, self.begin_s - (self.imports_s or 0.0) - self.weights_s - self.first_wait_s)

    @property
    def tail_s(self) -> float | None:
        """Seconds from the end of its last unit to that of its stream."""
        return None if self.first_s is None else max(0.0, self.stream_s - self.last_s)

    @property
    def overhead_s(self) -> float | None:
        """Seconds of its stream beside answering: start-up and tail."""
        return None if self.answering_s is None else max(0.0, self.stream_s - self.answering_s)

    @property
    def busy_share(self) -> float | None:
        """Share of the engines' time, from loaded to last told, in which they answered."""
        total = self.busy_s + self.wait_s
        return self.busy_s / total if total else None

    @property
    def gpu_hours(self) -> float:
        """Hours of its GPUs together, start-up and tail included."""
        return self.stream_s * self.actors * self.gpus / 3600

    def per_second(self, amount: int) -> float | None:
        """Return an amount over the seconds of answering."""
        seconds = self.answering_s
        return amount / seconds if seconds else None

    @property
    def expected_s(self) -> float | None:
        """Seconds that its estimate gives what was asked; None where there is none."""
        if self.estimate is None or not self.cells or not self.cells.keys() <= self.estimate.request_s.keys():
            return None
        answering = sum(cell.requests * self.estimate.request_s[key] for key, cell in self.cells.items())
        return answering + (self.estimate.overhead_s or 0.0)

    @property
    def took_s(self) -> float | None:
        """Seconds that ``expected_s`` is to be compared with."""
        if self.estimate is None or self.answering_s is None:
            return None
        return self.answering_s if self.estimate.overhead_s is None else self.stream_s

    def taken_over(self, receipt: Receipt) -> None:
        """Count a unit that needed no engine."""
        self.reused += receipt.reused

    def answered(self, receipt: Receipt, ended_s: float) -> None:
        """Count a unit that came from an engine.

        Args:
            receipt: The unit's.
            ended_s: Seconds from the start of the model's stream until the unit was answered.
        """
        if not receipt.elsewhere:
            self.posts += receipt.posts
            self.errors += receipt.errors
            self.reused += receipt.reused
            for work in receipt.work:
                self.cells.setdefault(cell_key(work.setting, work.task, work.dataset), CellStats()).add(work)
            begin_s = max(0.0, ended_s - receipt.seconds)
            self.begin_s = begin_s if self.begin_s is None else min(self.begin_s, begin_s)
            self.first_s = ended_s if self.first_s is None else min(self.first_s, ended_s)
            self.last_s = max(self.last_s, ended_s)
        self._used(receipt)

    def _used(self, receipt: Receipt) -> None:
        self.version = receipt.version or self.version
        self.sink_s += receipt.sink_s
        self.prepare_peak_bytes = max(self.prepare_peak_bytes, receipt.prepare_peak_bytes)
        use = receipt.use
        if use is None:
            return
        if self.weights_s is None and use.weights_s is not None:
            self.imports_s, self.weights_s, self.first_wait_s = use.imports_s, use.weights_s, use.wait_s
        self.busy_s += use.busy_s
        self.wait_s += use.wait_s
        self.engine_peak_bytes = max(self.engine_peak_bytes, use.peak_bytes)
        self.gpu = use.gpu or self.gpu
        if use.gpu_peak_bytes is not None:
            self.gpu_peak_bytes = max(self.gpu_peak_bytes or 0, use.gpu_peak_bytes)


class JobStats(_Record):
    """What one process of a run did.

    Attributes:
        run_id: The run.
        job: The process: its start and a random part.
        started_at: When it began, UTC.
        ended: Whether it came to its end; else it is at work, or was ended.
        wall_s: Seconds from opening the run until this was written.
        opening_s: Seconds of checking checkpoints and writing the plan.
        ray_s: Seconds of starting Ray or joining its cluster.
        aggregate_s: Seconds of sealing, scoring and writing the table.
        driver_peak_bytes: Highest resident memory of the process, shared pages included.
        models: Its models.
    """

    version: int = STATS_VERSION
    run_id: str
    job: str
    started_at: datetime
    ended: bool = False
    wall_s: Seconds = 0.0
    opening_s: Seconds = 0.0
    ray_s: Seconds = 0.0
    aggregate_s: Seconds = 0.0
    driver_peak_bytes: int = 0
    models: dict[str, ModelStats] = {}

    @property
    def worked(self) -> bool:
        """Whether it made anything durable."""
        return any(model.worked for model in self.models.values())


def read_stats(root: Storage, folder: RunFolder, note: Callable[[str], None]) -> list[JobStats]:
    """Return the statistics of a run's processes, in the order of their start.

    Args:
        root: Output root.
        folder: The run.
        note: Told of each file that cannot be read.
    """
    jobs = []
    for path in root.list_files(folder.stats):
        try:
            content = json.loads(root.read(path))
            if not isinstance(content, Mapping) or content.get("version") != STATS_VERSION:
                raise ValueError("of another version of this package")
            jobs.append(JobStats.model_validate(content))
        except (ValidationError, ValueError) as error:
            note(f"{root.uri}/{path}: no statistics ({str(error).splitlines()[0]})")
    return sorted(jobs, key=lambda job: job.started_at)


def all_stats(root: Storage, note: Callable[[str], None]) -> Iterator[JobStats]:
    """Yield the statistics of all runs below a root, those that started last first.

    Args:
        root: Output root.
        note: Told of each file that cannot be read.
    """
    folders = [RunFolder(run_id) for run_id in root.list_folders("runs") if RunFolder.is_run_id(run_id)]
    with ThreadPoolExecutor(READERS) as pool:
        jobs = [job for found in pool.map(lambda folder: read_stats(root, folder, note), folders) for job in found]
    yield from sorted(jobs, key=lambda job: job.started_at, reverse=True)
