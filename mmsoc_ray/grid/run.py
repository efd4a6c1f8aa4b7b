"""A run of a grid, from plan to results table."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmsoc_ray.data import Storage, Unit
from mmsoc_ray.engines import PictureReader
from mmsoc_ray.errors import ConfigurationError, StorageError
from mmsoc_ray.grid.account import RunAccount
from mmsoc_ray.grid.aggregate import CellResult
from mmsoc_ray.grid.answerer import Answerer, configuration, resolve_answerer
from mmsoc_ray.grid.encoder import pin_encoder
from mmsoc_ray.grid.estimate import ModelEstimate, as_expected
from mmsoc_ray.grid.examples import choose_examples, write_pictures
from mmsoc_ray.grid.forecast import expectations
from mmsoc_ray.grid.keys import differences, digest
from mmsoc_ray.grid.pace import Receipt
from mmsoc_ray.grid.plan import GridPlan, ModelPlan
from mmsoc_ray.grid.progress import RunProgress
from mmsoc_ray.grid.record import RecordedModel, RunRecord, config_of, parse_record, read_record, record_run
from mmsoc_ray.grid.retries import in_other_order, stream_to_the_end
from mmsoc_ray.grid.reuse import EarlierRun, ReusePolicy, choose_runs, earlier_runs
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.scores import is_under_way, read_manifest, score_run, seal_run, units_left, withdraw
from mmsoc_ray.grid.stats import ModelStats
from mmsoc_ray.interrupts import terminate_as_interrupt

if TYPE_CHECKING:
    from mmsoc_ray.grid.stream import Pipeline


@dataclass(frozen=True)
class PlannedModel:
    """One model of a run: its plan, resolved, with the hash that names its folder."""

    plan: ModelPlan
    answerer: Answerer
    configuration: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.plan.entry.name

    @property
    def key(self) -> str:
        """What tells it from the others of the run."""
        return self.plan.key

    @property
    def config(self) -> str:
        """``c`` and the hash of all that shapes the model's units."""
        return config_of(self.configuration)


@dataclass(frozen=True)
class RunResult:
    """What a run ended with.

    Attributes:
        cells: Every cell of the plan.
        engine_requests: Requests that an engine answered in this process' time; 0 when nothing was left to do.
        reused: Answers that were taken over from earlier runs.
        reused_from: The ids of those runs.
        rows: Predictions that this process made durable, failed ones included.
        sealed: Whether no unit's file kept its model from being sealed.
    """

    cells: tuple[CellResult, ...]
    engine_requests: int
    reused: int = 0
    reused_from: tuple[str, ...] = ()
    rows: int = 0
    sealed: bool = True

    @property
    def incomplete(self) -> tuple[CellResult, ...]:
        """Cells without all their predictions."""
        return tuple(cell for cell in self.cells if not cell.complete)

    @property
    def taken_over(self) -> str | None:
        """What is said of the answers that earlier runs had; None where there were none."""
        if not self.reused:
            return None
        runs = ("run " if len(self.reused_from) == 1 else "runs ") + ", ".join(map(repr, self.reused_from))
        asked = f"{self.engine_requests:,} were asked" if self.engine_requests else "no engine was called"
        return f"{self.reused:,} of {self.rows:,} answers taken over from {runs}; {asked}."


@dataclass(frozen=True)
class Run:
    """A planned run below an output root. ``open_run`` makes one.

    ``joined`` tells that another process has written the plan: it may be at work still. ``opening_s`` are the seconds
    that it took to open.
    """

    root: Storage
    data: Storage
    folder: RunFolder
    plan: GridPlan
    models: tuple[PlannedModel, ...]
    words_digest: str | None
    record: RunRecord
    joined: bool = False
    opening_s: float = 0.0

    def recorded(self, model: PlannedModel) -> RecordedModel:
        """Return a model as the run's plan.json counts it."""
        return next(recorded for recorded in self.record.models if recorded.key == model.key)

    def units_left(self, model: PlannedModel) -> list[str]:
        """Return the ids of a model's units without a file."""
        return units_left(self.root, self.folder, self.recorded(model))

    def finished(self) -> bool:
        """Whether all is there already: every unit, every seal, the table as it is scored now, and its manifest."""
        return (
            self._scored()
            and self.root.exists(self.folder.results)
            and all(self.root.exists(self.folder.seal(model.name, model.config)) for model in self.models)
            and not any(self.units_left(model) for model in self.models)
        )

    def _scored(self) -> bool:
        manifest = read_manifest(self.root, self.folder) or {}
        return manifest.get("status") == "complete" and manifest.get("scoring") == digest(self.record.scoring)


def open_run(plan: GridPlan, data: Storage, root: Storage, run_id: str, phase: Callable[[str], None]) -> Run:
    """Resolve a plan's models and write it down, or check it against what the run id stands for already.

    Args:
        plan: The plan.
        data: Root of the datasets.
        root: Output root.
        run_id: The run.
        phase: Told what is being done.

    Raises:
        ConfigurationError: Where the run id stands for another configuration (the message shows the difference), a
            checkpoint cannot be had, or the output root cannot be written.
    """
    started = time.monotonic()
    folder = RunFolder(run_id)
    uses_words = any(q.setting == "with_ocr" for model in plan.models for q in model.questions)
    ocr = PictureReader().digest if uses_words else None
    bertscore = pin_encoder(plan.grid)
    plan = choose_examples(plan, data, phase)
    models = []
    for model in plan.models:
        phase(f"preparing the checkpoint of {model.entry.name}")
        answerer = resolve_answerer(model, seed=plan.grid.seed, weights=plan.grid.weights)
        models.append(PlannedModel(model, answerer, configuration(model, answerer, words_digest=ocr)))
    run = Run(root, data, folder, plan, tuple(models), ocr, record_run(plan, models, bertscore, run_id))
    return dataclasses.replace(_write_or_check_plan(run), opening_s=time.monotonic() - started)


def _write_or_check_plan(run: Run) -> Run:
    """Write the plan, or compare it with the one that is there; return the run with the plan that stands.

    What is no part of the configuration (the grid's name, a model's family) stays as it was first written: the audit
    and later aggregations know no other.
    """
    try:
        if run.root.write_once(run.folder.plan, run.record.json):
            return run
    except OSError as error:
        raise ConfigurationError(
            f"--output {run.root.uri}: cannot be written ({error.strerror or error}). Name a folder or s3:// prefix "
            f"that you may write to."
        ) from error
    stored = dict(read_record(run.root, run.folder).content)
    changed = differences(stored["configuration"], run.record.content["configuration"])
    if changed:
        shown = "\n  ".join(changed[:20]) + (f"\n  ... and {len(changed) - 20} more" if len(changed) > 20 else "")
        raise ConfigurationError(
            f"run id {run.folder.run_id!r} below {run.root.uri} stands for another configuration:\n  {shown}\n"
            f"Take another --run-id, or the grid and options that this one was started with."
        )
    if stored["scoring"] != run.record.scoring:
        stored["scoring"] = run.record.scoring
        withdraw(run.root, run.folder)
        run.root.write(run.folder.plan, parse_record(stored, run.folder.plan).json)
    here = {name: run.record.content[name] for name in ("bertscore_folder",) if name in run.record.content}
    return dataclasses.replace(run, record=parse_record({**stored, **here}, run.folder.plan), joined=True)


def execute(
    run: Run,
    progress: RunProgress,
    *,
    address: str | None = None,
    reuse: ReusePolicy = ReusePolicy.same_version,
) -> RunResult:
    """Do what is left of a run: take over, stream, seal, aggregate, write the table and its manifest.

    Args:
        run: The run.
        progress: Shows how far it is.
        address: Ray cluster to join; by default that of ``RAY_ADDRESS``, else Ray starts inside this process.
        reuse: Which answers of earlier runs below the same root are taken over.

    Raises:
        StorageError: Where data cannot be read or results not written for good: the disk is full, say, or the server
            stays away. What is durable stays.
    """
    from mmsoc_ray.grid.head import watched_head
    from mmsoc_ray.grid.stream import start_ray

    account = RunAccount(run.root, run.folder, progress.note, opening_s=run.opening_s)
    progress.phase("starting Ray")
    with account.timed("ray_s"):
        start_ray(address)
    terminate_as_interrupt()
    with watched_head(progress.abort), account:
        return _execute(run, progress, reuse, account)


def _execute(run: Run, progress: RunProgress, reuse: ReusePolicy, account: RunAccount) -> RunResult:
    from mmsoc_ray.grid.stream import STREAM_ERRORS, cause_of, run_tasks

    progress.expect_models(len(run.models))
    done = _Done(account)
    unfinished = [model.key for model in run.models if run.units_left(model)]
    recounted = [model.key for model in run.models] if is_under_way(run.root, run.folder) else unfinished
    earlier: list[EarlierRun] = []
    expected: dict[str, ModelEstimate] = {}
    if unfinished:
        withdraw(run.root, run.folder)
        expected = expectations(run.plan, run.data, run.root, progress.note)
        if reuse is not ReusePolicy.none:
            earlier = earlier_runs(run.root, run.folder.run_id, progress.note)
    for model in run.models:
        try:
            with account.model(model.key, _new_stats(model, expected.get(model.key))):
                _answer_model(run, model, progress, earlier, reuse, done)
        except STREAM_ERRORS as error:
            cause = cause_of(error)
            if isinstance(cause, StorageError):  # the other models would be asked for nothing
                raise cause from error
            # One model that cannot run never stops the others; its cells stay incomplete and the run says so.
            progress.note(f"{model.key} failed: {_last_line(cause)}")
            progress.end_model(model.key)
    progress.phase("counting and aggregating")
    with account.timed("aggregate_s"):
        unsealed = seal_run(run.root, run.folder, run.record, run_tasks, again=recounted)
        for problem in unsealed:
            progress.note(problem)
        cells = score_run(run.root, run.folder, run.record, run_tasks)
    for cell in cells:
        if cell.problem is not None:
            progress.note(f"{cell.cell.identity} has no scores: {cell.problem}")
    return done.result(cells, sealed=not unsealed)


@dataclass
class _Done:
    """What this process has made durable: units taken over whole, and units that an engine was asked about."""

    account: RunAccount
    engine_requests: int = 0
    reused: int = 0
    rows: int = 0
    reused_from: set[str] = field(default_factory=set)

    def taken(self, receipt: Receipt) -> None:
        self.account.taken(receipt)
        self._count(receipt)

    def answered(self, receipt: Receipt) -> None:
        self.account.answered(receipt)
        if not receipt.elsewhere:
            self._count(receipt)
            self.engine_requests += receipt.requests - receipt.reused - receipt.repeated

    def _count(self, receipt: Receipt) -> None:
        self.reused += receipt.reused
        self.rows += receipt.requests
        self.reused_from.update(run_id for run_id in receipt.reused_from.split(",") if run_id)

    def result(self, cells: tuple[CellResult, ...], *, sealed: bool) -> RunResult:
        sources = tuple(sorted(self.reused_from))
        return RunResult(cells, self.engine_requests, self.reused, sources, self.rows, sealed)


def _new_stats(model: PlannedModel, expected: ModelEstimate | None) -> ModelStats:
    return ModelStats(
        engine=model.plan.entry.engine,
        dtype=model.answerer.dtype,
        actors=model.plan.resources.actors,
        gpus=model.plan.resources.gpus,
        estimate=None if expected is None else as_expected(expected),
    )


def _last_line(error: Exception) -> str:
    """Return the name of an error and its last line: before that, Ray's own errors hold tracebacks."""
    said = str(error).strip().splitlines()[-1:]
    return ": ".join([type(error).__name__, *said])


def _note(progress: RunProgress, model: str, text: str) -> None:
    progress.note(f"{model}: {text}")


def _answer_model(
    run: Run,
    model: PlannedModel,
    progress: RunProgress,
    earlier: Sequence[EarlierRun],
    reuse: ReusePolicy,
    done: _Done,
) -> None:
    """Take over what earlier runs hold of a model's answers; stream the rest through its engine."""
    from mmsoc_ray.grid.take_over import earlier_answers, take_over

    left = set(run.units_left(model))
    todo = [unit for unit in model.plan.units() if unit.unit_id in left]
    todo = in_other_order(todo) if run.joined else model.plan.longest_first(todo)
    source = choose_runs(model.answerer, model.plan.datasets, earlier if todo else (), reuse, progress.note)
    if source.runs:
        progress.phase(f"looking for known answers of {model.key}")
    with contextlib.ExitStack() as stack:
        with done.account.taking_over():
            look_up = stack.enter_context(earlier_answers(run.root.uri, source, progress.note))
            pipeline = pipeline_of(run, model)
            if look_up is not None:
                pipeline = dataclasses.replace(pipeline, look_up=look_up)
                pass_over = functools.partial(take_over, pipeline)
                said = functools.partial(_note, progress, model.key)
                for receipt in stream_to_the_end(model.key, todo, pass_over, pipeline.durable, said):
                    done.taken(receipt)
                    left.discard(receipt.unit_id)
        if left:
            write_pictures(run.root, run.folder, run.plan, model.plan.questions)
        _stream_model(model, pipeline, [unit for unit in todo if unit.unit_id in left], progress, done)


def pipeline_of(run: Run, model: PlannedModel) -> Pipeline:
    """Return all that the tasks and actors of one of a run's models need to know."""
    from mmsoc_ray.grid.stream import Pipeline

    return Pipeline(
        data_uri=run.data.uri,
        root_uri=run.root.uri,
        run_id=run.folder.run_id,
        config=model.config,
        answerer=model.answerer,
        questions={dataset: model.plan.questions_on(dataset) for dataset in model.plan.datasets},
        fit=model.plan.fit,
        resources=model.plan.resources,
        words_digest=run.words_digest,
        datasets=model.plan.datasets if model.plan.entry.engine == "baseline" else {},
    )


def _stream_model(
    model: PlannedModel, pipeline: Pipeline, todo: Sequence[Unit], progress: RunProgress, done: _Done
) -> None:
    from mmsoc_ray.grid.stream import stream_units

    units = model.plan.units()
    left = {unit.unit_id for unit in todo}
    per_post = {dataset: model.plan.requests_per_post(dataset) for dataset in model.plan.datasets}
    before = [unit for unit in units if unit.unit_id not in left]
    progress.start_model(
        model.key,
        sum(unit.posts for unit in units),
        sum(unit.posts * per_post[unit.dataset] for unit in units),
        posts_done_before=sum(unit.posts for unit in before),
        requests_done_before=sum(unit.posts * per_post[unit.dataset] for unit in before),
    )
    if todo:
        progress.phase(f"loading {model.key}")
    datasets = {unit.unit_id: unit.dataset for unit in todo}
    stream = functools.partial(stream_units, pipeline)
    said = functools.partial(_note, progress, model.key)
    with done.account.streaming():
        for receipt in stream_to_the_end(model.key, todo, stream, pipeline.durable, said):
            done.answered(receipt)
            if receipt.elsewhere:
                receipt = dataclasses.replace(receipt, requests=receipt.posts * per_post[datasets[receipt.unit_id]])
            progress.unit_done(dataclasses.replace(receipt, model=model.key))
    progress.end_model(model.key)
