"""A run of a grid, from plan to results table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmsoc_ray.data import Storage
from mmsoc_ray.engines import PictureReader
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.aggregate import CellJob, CellResult, aggregate_cell
from mmsoc_ray.grid.answerer import Answerer, configuration, resolve_answerer
from mmsoc_ray.grid.encoder import PinnedEncoder, pin_encoder
from mmsoc_ray.grid.examples import choose_examples
from mmsoc_ray.grid.keys import differences, digest
from mmsoc_ray.grid.plan import GridPlan, ModelPlan
from mmsoc_ray.grid.progress import RunProgress
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.scoring import scoring
from mmsoc_ray.grid.seal import SealError, UnitSeal, count_unit, missing_units, seal_content
from mmsoc_ray.interrupts import terminate_as_interrupt
from mmsoc_ray.results.table import write_results

PLAN_VERSION = 1


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
    def config(self) -> str:
        """``c`` and the hash of all that shapes the model's units."""
        return f"c{digest(self.configuration)[:16]}"


@dataclass(frozen=True)
class RunResult:
    """What a run ended with.

    Attributes:
        cells: Every cell of the plan.
        engine_requests: Requests that an engine answered in this process' time; 0 when nothing was left to do.
        reused: Answers that were taken over from earlier runs.
        reused_from: The ids of those runs.
        rows: Predictions that this process made durable, failed ones included.
    """

    cells: tuple[CellResult, ...]
    engine_requests: int
    reused: int = 0
    reused_from: tuple[str, ...] = ()
    rows: int = 0

    @property
    def incomplete(self) -> tuple[CellResult, ...]:
        """Cells without all their predictions."""
        return tuple(cell for cell in self.cells if not cell.complete)


@dataclass(frozen=True)
class Run:
    """A planned run below an output root. ``open_run`` makes one."""

    root: Storage
    data: Storage
    folder: RunFolder
    plan: GridPlan
    models: tuple[PlannedModel, ...]
    words_digest: str | None
    bertscore: PinnedEncoder | None = None

    def units_left(self, model: PlannedModel) -> list[str]:
        """Return the ids of a model's units without a file."""
        present = self.root.list_files(self.folder.predictions(model.name, model.config))
        return missing_units(present, [unit.unit_id for unit in model.plan.units()])

    def finished(self) -> bool:
        """Whether all is there already: every unit, every seal, the table as it is scored now, and its manifest."""
        return (
            self.root.exists(self.folder.manifest)
            and self.root.exists(self.folder.results)
            and all(self.root.exists(self.folder.seal(model.name, model.config)) for model in self.models)
            and not any(self.units_left(model) for model in self.models)
            and self._scored()
        )

    def _scored(self) -> bool:
        manifest = json.loads(self.root.read(self.folder.manifest))
        return bool(manifest["status"] == "complete" and manifest.get("scoring") == digest(scoring(self.plan.grid)))


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
    folder = RunFolder(run_id)
    uses_words = any(q.setting == "with_ocr" for model in plan.models for q in model.questions)
    ocr = PictureReader().digest if uses_words else None
    bertscore = pin_encoder(plan.grid)
    plan = choose_examples(plan, data, phase)
    models = []
    for model in plan.models:
        phase(f"preparing the checkpoint of {model.entry.name}")
        answerer = resolve_answerer(model, seed=plan.grid.seed)
        models.append(PlannedModel(model, answerer, configuration(model, answerer, words_digest=ocr)))
    run = Run(root, data, folder, plan, tuple(models), ocr, bertscore)
    _write_or_check_plan(run)
    return run


def _write_or_check_plan(run: Run) -> None:
    content = _plan_content(run)
    try:
        if run.root.write_once(run.folder.plan, json.dumps(content, indent=1, sort_keys=True).encode()):
            return
    except OSError as error:
        raise ConfigurationError(
            f"--output {run.root.uri}: cannot be written ({error.strerror or error}). Name a folder or s3:// prefix "
            f"that you may write to."
        ) from error
    stored = json.loads(run.root.read(run.folder.plan))
    changed = differences(stored["configuration"], content["configuration"])
    if changed:
        shown = "\n  ".join(changed[:20]) + (f"\n  ... and {len(changed) - 20} more" if len(changed) > 20 else "")
        raise ConfigurationError(
            f"run id {run.folder.run_id!r} below {run.root.uri} stands for another configuration:\n  {shown}\n"
            f"Take another --run-id, or the grid and options that this one was started with."
        )
    if stored.get("scoring") != content["scoring"]:
        stored["scoring"] = content["scoring"]
        run.root.write(run.folder.plan, json.dumps(stored, indent=1, sort_keys=True).encode())


def _plan_content(run: Run) -> dict[str, Any]:
    return {
        "schema_version": PLAN_VERSION,
        "run_id": run.folder.run_id,
        "grid": run.plan.grid.name,
        "notes": list(run.plan.grid.notes),
        "scoring": scoring(run.plan.grid),
        "configuration": {
            "limit": run.plan.limit,
            "seed": run.plan.grid.seed,
            "models": {model.name: dict(model.configuration) for model in run.models},
            **({} if run.bertscore is None else {"bertscore": run.bertscore.content}),
        },
        "models": {
            model.name: {
                "family": model.plan.entry.family,
                "parameters_b": model.plan.entry.parameters_b,
                "config": model.config,
                "units": len(model.plan.units()),
                "requests": model.plan.requests,
            }
            for model in run.models
        },
        "cells": [
            {"model": c.model, "adapter": c.adapter, "setting": c.setting, "task": c.task, "dataset": c.dataset}
            | {"split": c.split, "posts": posts}
            for c, posts in run.plan.cells().items()
        ],
    }


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
    """
    from mmsoc_ray.grid.stream import STREAM_ERRORS, run_tasks, start_ray

    progress.phase("starting Ray")
    start_ray(address)
    terminate_as_interrupt()
    progress.expect_models(len(run.models))
    earlier = [] if reuse is ReusePolicy.none else earlier_runs(run.root, run.folder.run_id, progress.note)
    receipts: list[Receipt] = []
    for model in run.models:
        try:
            receipts += _stream_model(run, model, progress, _reusable(model, earlier, reuse, progress))
        except STREAM_ERRORS as error:
            # One model that cannot run never stops the others; its cells stay incomplete and the run says so.
            progress.note(f"{model.name} failed: {_last_line(error)}")
            progress.end_model(model.name)
    progress.phase("counting and aggregating")
    for model in run.models:
        try:
            _seal_model(run, model, run_tasks)
        except SealError as error:
            progress.note(f"{model.name} is not sealed: {_last_line(error)}")
    cells = tuple(run_tasks(aggregate_cell, [(job,) for job in _cell_jobs(run)]))
    for cell in cells:
        if cell.problem is not None:
            progress.note(f"{cell.cell.identity} has no scores: {cell.problem}")
    _write_results(run, cells)
    return RunResult(
        cells=tuple(sorted(cells, key=lambda result: result.cell)),
        engine_requests=sum(receipt.asked for receipt in receipts),
        reused=sum(receipt.reused for receipt in receipts),
        reused_from=_sources(receipts),
        rows=sum(receipt.requests for receipt in receipts),
    )


def _sources(receipts: Iterable[Receipt]) -> tuple[str, ...]:
    return tuple(sorted({run_id for receipt in receipts for run_id in receipt.reused_from.split(",") if run_id}))


def _last_line(error: Exception) -> str:
    """Return what went wrong on a worker, without the worker's traceback."""
    return str(error).strip().splitlines()[-1]


def _stream_model(run: Run, model: PlannedModel, progress: RunProgress) -> int:
    from mmsoc_ray.grid.stream import Pipeline, stream_units

    units = model.plan.units()
    left = set(run.units_left(model))
    todo = [unit for unit in units if unit.unit_id in left]
    per_post = {dataset: model.plan.requests_per_post(dataset) for dataset in model.plan.datasets}
    done = [unit for unit in units if unit.unit_id not in left]
    progress.start_model(
        model.name,
        sum(unit.posts for unit in units),
        sum(unit.posts * per_post[unit.dataset] for unit in units),
        posts_done_before=sum(unit.posts for unit in done),
        requests_done_before=sum(unit.posts * per_post[unit.dataset] for unit in done),
    )
    if todo:
        progress.phase(f"loading {model.name}")
    pipeline = Pipeline(
        data_uri=run.data.uri,
        root_uri=run.root.uri,
        run_id=run.folder.run_id,
        config=model.config,
        answerer=model.answerer,
        questions={dataset: model.plan.questions_on(dataset) for dataset in model.plan.datasets},
        fit=model.plan.fit,
        resources=model.plan.resources,
        words_digest=run.words_digest,
    )
    requests = 0
    for receipt in stream_units(pipeline, todo):
        progress.unit_done(receipt)
        requests += receipt.requests
    progress.end_model(model.name)
    return requests


def _seal_model(run: Run, model: PlannedModel, run_tasks: Callable[..., Any]) -> None:
    """Count every unit of a model; write its marker where none is missing."""
    seal_path = run.folder.seal(model.name, model.config)
    if run.units_left(model) or run.root.exists(seal_path):
        return
    per_post = {dataset: model.plan.requests_per_post(dataset) for dataset in model.plan.datasets}
    calls = [
        (
            run.root,
            run.folder.unit(model.name, model.config, unit.unit_id),
            unit.unit_id,
            unit.posts * per_post[unit.dataset],
        )
        for unit in model.plan.units()
    ]
    seals: Sequence[UnitSeal] = list(run_tasks(count_unit, calls))
    run.root.write_once(seal_path, seal_content(model.configuration, seals))


def _cell_jobs(run: Run) -> list[CellJob]:
    jobs = []
    for model in run.models:
        present = run.root.list_files(run.folder.predictions(model.name, model.config))
        missing = set(run.units_left(model))
        files: dict[str, list[str]] = {dataset: [] for dataset in model.plan.datasets}
        for unit in model.plan.units():
            path = run.folder.unit(model.name, model.config, unit.unit_id)
            if unit.unit_id not in missing and path in present:
                files[unit.dataset].append(path)
        for cell, posts in model.plan.cells().items():
            jobs.append(
                CellJob(
                    root_uri=run.root.uri,
                    run_folder=run.folder.root,
                    cell=cell,
                    task=model.plan.tasks[cell.task],
                    policy=run.plan.grid.parse_policy(cell.task),
                    files=tuple(files[cell.dataset]),
                    expected=posts,
                    family=model.plan.entry.family,
                    parameters_b=model.plan.entry.parameters_b,
                    run_id=run.folder.run_id,
                    bertscore=run.bertscore,
                )
            )
    return jobs


def _write_results(run: Run, cells: Sequence[CellResult]) -> None:
    """Write the run's part of the table, then the manifest; a rerun with the same cells changes no byte."""
    table = write_results(row for cell in cells for row in cell.rows)
    incomplete = [cell for cell in cells if not cell.complete]
    manifest = {
        "schema_version": PLAN_VERSION,
        "run_id": run.folder.run_id,
        "grid": run.plan.grid.name,
        "status": "incomplete" if incomplete else "complete",
        "results": {"file": run.folder.results, "sha256": hashlib.sha256(table).hexdigest()},
        "scoring": digest(scoring(run.plan.grid)),
        "cells": len(cells),
        "incomplete": {cell.cell.path: {"found": cell.found, "expected": cell.expected} for cell in incomplete},
        "models": {model.name: model.config for model in run.models},
    }
    _write_changed(run.root, run.folder.results, table)
    _write_changed(run.root, run.folder.manifest, json.dumps(manifest, indent=1, sort_keys=True).encode())


def _write_changed(root: Storage, path: str, content: bytes) -> None:
    if not root.exists(path) or root.read(path) != content:
        root.write(path, content)
