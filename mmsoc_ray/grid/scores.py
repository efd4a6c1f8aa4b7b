"""From predictions to the results table: what a run does last, and ``mmsoc aggregate`` does again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from mmsoc_ray.data import Storage, write_changed
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.aggregate import CellJob, CellResult, aggregate_cell
from mmsoc_ray.grid.comparing import compare_cells, comparison_jobs
from mmsoc_ray.grid.keys import digest
from mmsoc_ray.grid.record import PLAN_VERSION, RecordedModel, RunRecord, parse_record
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.scoring import RULES
from mmsoc_ray.grid.seal import RunTasks, SealError, missing_units, seal_model
from mmsoc_ray.results.comparisons import write_comparisons
from mmsoc_ray.results.table import write_results
from mmsoc_ray.tasks import EXPLAIN, explained_task, is_finetuned

UNDER_WAY = "under_way"
"""Status of a manifest of whose run something is being changed, or was when its process ended."""


def read_manifest(root: Storage, folder: RunFolder) -> Mapping[str, Any] | None:
    """Return a run's manifest; None where it has none, nothing in it where it is damaged."""
    try:
        manifest = json.loads(root.read(folder.manifest))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return manifest if isinstance(manifest, dict) else {}


def withdraw(root: Storage, folder: RunFolder) -> None:
    """Say in a run's manifest, where there is one, that what it stands for is about to change.

    Its last word is written last. A process that ends before leaves this one, and nobody takes the run for finished.
    It is written over, not deleted: a node has no right to delete.
    """
    if manifest := read_manifest(root, folder):
        write_changed(root, folder.manifest, _manifest_json({**manifest, "status": UNDER_WAY}))


def is_under_way(root: Storage, folder: RunFolder) -> bool:
    """Whether a run's manifest was withdrawn and not yet written again."""
    return (read_manifest(root, folder) or {}).get("status") == UNDER_WAY


def units_left(root: Storage, folder: RunFolder, model: RecordedModel) -> list[str]:
    """Return the ids of a model's planned units without a file."""
    present = root.list_files(folder.predictions(model.name, model.config))
    return missing_units(present, [unit.unit_id for unit in model.units])


def score_run(root: Storage, folder: RunFolder, record: RunRecord, run_tasks: RunTasks) -> tuple[CellResult, ...]:
    """Aggregate every cell of a run, and write its part of the table and its manifest.

    A second call over the same predictions changes no byte. Where the last units appear meanwhile, another process has
    finished the run, whose cells this one may have written over without those units: they are aggregated again.
    """
    while True:
        left = _units_are_left(root, folder, record)
        cells = in_order(run_tasks(aggregate_cell, [(job,) for job in cell_jobs(root, folder, record)]))
        compared = comparisons_of(root, folder, record, cells, run_tasks)
        table, manifest = table_and_manifest(root, folder, record, cells, compared)
        write_changed(root, folder.results, table)
        if compared is not None:
            write_changed(root, folder.comparisons, compared)
        write_changed(root, folder.manifest, manifest)
        if not left or _units_are_left(root, folder, record):
            return cells


def _units_are_left(root: Storage, folder: RunFolder, record: RunRecord) -> bool:
    return any(units_left(root, folder, model) for model in record.models)


def seal_run(
    root: Storage, folder: RunFolder, record: RunRecord, run_tasks: RunTasks, *, again: Collection[str] = ()
) -> list[str]:
    """Seal every model whose units are all there.

    Args:
        root: Output root.
        folder: The run.
        record: Its plan.
        run_tasks: Runs the counting.
        again: Models to count although they are sealed: a file that was answered again since has other bytes.

    Returns:
        What is said of each model that cannot be sealed.
    """
    problems = []
    for model in record.models:
        try:
            seal_model(root, folder, model, run_tasks, again=model.key in again)
        except SealError as error:
            problems.append(f"{model.key} is not sealed: {error}")
    return problems


def rescore(
    root: Storage, folder: RunFolder, record: RunRecord, run_tasks: RunTasks, note: Callable[[str], None]
) -> tuple[CellResult, ...]:
    """Aggregate a run anew as this version of the package reads answers; no engine is asked.

    Args:
        root: Output root.
        folder: The run.
        record: Its plan.
        run_tasks: Runs the counting and scoring.
        note: Told of each model that cannot be sealed.

    Raises:
        ConfigurationError: There is nothing to aggregate.
    """
    if all(len(units_left(root, folder, model)) == len(model.units) for model in record.models):
        raise ConfigurationError(f"{root.uri}/{folder.root} has no predictions yet. Run the grid first.")
    if (scoring := {**record.scoring, **RULES}) != record.scoring:
        content = {**record.content, "scoring": scoring}
        record = parse_record(content, f"{root.uri}/{folder.plan}")
        withdraw(root, folder)
        root.write(folder.plan, record.json)
    again = [model.key for model in record.models] if is_under_way(root, folder) else ()
    for problem in seal_run(root, folder, record, run_tasks, again=again):
        note(problem)
    return score_run(root, folder, record, run_tasks)


def in_order(cells: Iterable[CellResult]) -> tuple[CellResult, ...]:
    """Return cells in the order of their identities."""
    return tuple(sorted(cells, key=lambda result: result.cell))


def cell_jobs(root: Storage, folder: RunFolder, record: RunRecord) -> list[CellJob]:
    """Return the work of aggregating every cell of a run, over the units that are there."""
    tasks = {name: record.task(name) for name in record.scoring["parse_policy"]}
    bertscore = record.bertscore
    jobs = []
    for model in record.models:
        missing = set(units_left(root, folder, model))
        files: dict[str, list[str]] = {}
        for unit in model.units:
            if unit.unit_id not in missing:
                path = folder.unit(model.name, model.config, unit.unit_id)
                files.setdefault(unit.dataset, []).append(path)
        jobs += [
            CellJob(
                root_uri=root.uri,
                run_folder=folder.root,
                cell=cell,
                task=explained_task(tasks[cell.task]) if cell.setting == EXPLAIN else tasks[cell.task],
                policy=record.parse_policy(cell.task),
                files=tuple(files.get(cell.dataset, ())),
                expected=posts,
                family=model.family,
                parameters_b=model.parameters_b,
                run_id=folder.run_id,
                bertscore=bertscore,
            )
            for cell, posts in model.cells.items()
        ]
    return jobs


def comparisons_of(
    root: Storage, folder: RunFolder, record: RunRecord, cells: Iterable[CellResult], run_tasks: RunTasks
) -> bytes | None:
    """Return what the fine-tuned cells of a run gained, as their file holds it; None for a run without any."""
    jobs = cell_jobs(root, folder, record)
    if not any(is_finetuned(job.cell.setting) for job in jobs):
        return None
    base_settings = {model.name: model.base_setting for model in record.models if model.base_setting}
    complete = {result.cell for result in cells if result.complete}
    calls = [(pair,) for pair in comparison_jobs(jobs, base_settings, complete)]
    return write_comparisons(comparison for found in run_tasks(compare_cells, calls) for comparison in found)


def table_and_manifest(
    root: Storage, folder: RunFolder, record: RunRecord, cells: Sequence[CellResult], compared: bytes | None
) -> tuple[bytes, bytes]:
    """Return a run's part of the table and its manifest: the same cells and seals give the same bytes."""
    table = write_results(row for cell in cells for row in cell.rows)
    incomplete = [cell for cell in cells if not cell.complete]
    unsealed = [model.key for model in record.models if not root.exists(folder.seal(model.name, model.config))]
    manifest = {
        "schema_version": PLAN_VERSION,
        "run_id": folder.run_id,
        "grid": record.content["grid"],
        "status": "incomplete" if incomplete or unsealed else "complete",
        "plan": {"file": folder.plan, "sha256": hashlib.sha256(root.read(folder.plan)).hexdigest()},
        "results": {"file": folder.results, "sha256": hashlib.sha256(table).hexdigest()},
        "scoring": digest(record.scoring),
        "cells": len(cells),
        "incomplete": {cell.cell.path: {"found": cell.found, "expected": cell.expected} for cell in incomplete},
        "models": {model.key: model.config for model in record.models},
    } | ({"unsealed": unsealed} if unsealed else {})
    if compared is not None:
        manifest["comparisons"] = {"file": folder.comparisons, "sha256": hashlib.sha256(compared).hexdigest()}
    return table, _manifest_json(manifest)


def _manifest_json(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, indent=1, sort_keys=True).encode()
