"""From predictions to the results table: what a run does last, and ``mmsoc aggregate`` does again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from mmsoc_ray.data import Storage, write_changed
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.aggregate import CellJob, CellResult, aggregate_cell
from mmsoc_ray.grid.keys import digest
from mmsoc_ray.grid.record import PLAN_VERSION, RecordedModel, RunRecord, parse_record
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.seal import RunTasks, missing_units
from mmsoc_ray.results.table import write_results
from mmsoc_ray.tasks import PARSER_VERSION


def units_left(root: Storage, folder: RunFolder, model: RecordedModel) -> list[str]:
    """Return the ids of a model's planned units without a file."""
    present = root.list_files(folder.predictions(model.name, model.config))
    return missing_units(present, [unit.unit_id for unit in model.units])


def score_run(root: Storage, folder: RunFolder, record: RunRecord, run_tasks: RunTasks) -> tuple[CellResult, ...]:
    """Aggregate every cell of a run, and write its part of the table and its manifest.

    A second call over the same predictions changes no byte.
    """
    cells = in_order(run_tasks(aggregate_cell, [(job,) for job in cell_jobs(root, folder, record)]))
    table, manifest = table_and_manifest(root, folder, record, cells)
    write_changed(root, folder.results, table)
    write_changed(root, folder.manifest, manifest)
    return cells


def rescore(root: Storage, folder: RunFolder, record: RunRecord, run_tasks: RunTasks) -> tuple[CellResult, ...]:
    """Aggregate a run anew as this version of the package reads answers; no engine is asked.

    Raises:
        ConfigurationError: There is nothing to aggregate.
    """
    if all(len(units_left(root, folder, model)) == len(model.units) for model in record.models):
        raise ConfigurationError(f"{root.uri}/{folder.root} has no predictions yet. Run the grid first.")
    if record.scoring["parser"] != PARSER_VERSION:
        content = {**record.content, "scoring": {**record.scoring, "parser": PARSER_VERSION}}
        record = parse_record(content, f"{root.uri}/{folder.plan}")
        root.write(folder.plan, record.json)
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
                task=tasks[cell.task],
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


def table_and_manifest(
    root: Storage, folder: RunFolder, record: RunRecord, cells: Sequence[CellResult]
) -> tuple[bytes, bytes]:
    """Return a run's part of the table and its manifest: the same cells give the same bytes."""
    table = write_results(row for cell in cells for row in cell.rows)
    incomplete = [cell for cell in cells if not cell.complete]
    manifest = {
        "schema_version": PLAN_VERSION,
        "run_id": folder.run_id,
        "grid": record.content["grid"],
        "status": "incomplete" if incomplete else "complete",
        "plan": {"file": folder.plan, "sha256": hashlib.sha256(root.read(folder.plan)).hexdigest()},
        "results": {"file": folder.results, "sha256": hashlib.sha256(table).hexdigest()},
        "scoring": digest(record.scoring),
        "cells": len(cells),
        "incomplete": {cell.cell.path: {"found": cell.found, "expected": cell.expected} for cell in incomplete},
        "models": {model.name: model.config for model in record.models},
    }
    return table, json.dumps(manifest, indent=1, sort_keys=True).encode()
