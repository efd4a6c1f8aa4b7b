"""Aggregation: one task per cell turns predictions into metrics. A pure function of the sealed predictions."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage, open_storage
from mmsoc_ray.grid.plan import Cell
from mmsoc_ray.grid.seal import DIGESTED, content_digest
from mmsoc_ray.results.cells import CellRows, score_cell
from mmsoc_ray.results.table import ResultRow
from mmsoc_ray.tasks import get_task

_READ = tuple(dict.fromkeys((*DIGESTED, "dataset", "split", "reference", "output_tokens")))


@dataclass(frozen=True)
class CellJob:
    """What an aggregator task needs.

    Attributes:
        root_uri: Output root.
        run_folder: Folder of the run below it.
        cell: The cell.
        files: Files of the units that hold its dataset's posts.
        expected: Planned number of posts.
        family: For the results table.
        parameters_b: For the results table.
        run_id: The run.
    """

    root_uri: str
    run_folder: str
    cell: Cell
    files: tuple[str, ...]
    expected: int
    family: str
    parameters_b: float
    run_id: str


@dataclass(frozen=True)
class CellResult:
    """An aggregated cell.

    Attributes:
        cell: The cell.
        expected: Planned number of posts.
        found: Posts with a prediction.
        rows: Its rows of the results table; empty for a cell that is not complete.
    """

    cell: Cell
    expected: int
    found: int
    rows: tuple[ResultRow, ...]

    @property
    def complete(self) -> bool:
        """Whether every planned post has its prediction."""
        return self.found == self.expected


def aggregate_cell(job: CellJob) -> CellResult:
    """Score one cell and write its file below ``cells/``.

    A cell without all its posts is written as ``incomplete`` with its counts and no metric.
    """
    root = open_storage(job.root_uri)
    predictions = _read_cell(root, job)
    rows = _rows(job, predictions) if predictions.num_rows == job.expected else ()
    content = _cell_content(job, predictions, rows)
    path = f"{job.run_folder}/{job.cell.path}"
    if not root.exists(path) or root.read(path) != content:
        root.write(path, content)
    return CellResult(job.cell, job.expected, predictions.num_rows, rows)


def _read_cell(root: Storage, job: CellJob) -> pa.Table:
    cell = job.cell
    tables = []
    for path in job.files:
        with root.open_input(path) as handle:
            table = pq.ParquetFile(handle).read(columns=list(_READ))
        wanted = {"setting": cell.setting, "task": cell.task, "dataset": cell.dataset, "split": cell.split}
        for column, value in wanted.items():
            table = table.filter(pc.equal(table.column(column), value))
        tables.append(table)
    if not tables:
        return pa.table({name: [] for name in _READ})
    return pa.concat_tables(tables).sort_by("post_key")


def _rows(job: CellJob, predictions: pa.Table) -> tuple[ResultRow, ...]:
    columns = {name: predictions.column(name).to_pylist() for name in predictions.column_names}
    scores = score_cell(
        get_task(job.cell.task),
        CellRows(
            post_key=columns["post_key"],
            output=columns["output"],
            error=columns["error"],
            reference=columns["reference"],
            output_tokens=columns["output_tokens"],
            label_scores=[None if scores is None else dict(scores) for scores in columns["label_scores"]],
        ),
        identity=job.cell.identity,
    )
    source_digest = content_digest(predictions)
    return tuple(
        ResultRow(
            run_id=job.run_id,
            model=job.cell.model,
            family=job.family,
            parameters_b=job.parameters_b,
            adapter=job.cell.adapter,
            setting=job.cell.setting,
            task=job.cell.task,
            dataset=job.cell.dataset,
            split=job.cell.split,
            metric=metric.name,
            value=metric.value,
            ci_low=metric.ci_low,
            ci_high=metric.ci_high,
            n=scores.n,
            n_failed=scores.n_failed,
            n_unparsed=scores.n_unparsed,
            source_digest=source_digest,
        )
        for metric in scores.metrics
    )


def _cell_content(job: CellJob, predictions: pa.Table, rows: Sequence[ResultRow]) -> bytes:
    complete = predictions.num_rows == job.expected
    content: dict[str, Any] = {
        "cell": {name: getattr(job.cell, name) for name in ("model", "adapter", "setting", "task", "dataset", "split")},
        "status": "complete" if complete else "incomplete",
        "expected": job.expected,
        "found": predictions.num_rows,
        "source_digest": content_digest(predictions),
    }
    if rows:
        content |= {"n": rows[0].n, "n_failed": rows[0].n_failed, "n_unparsed": rows[0].n_unparsed}
        content["metrics"] = {
            row.metric: {"value": _finite(row.value), "ci_low": _finite(row.ci_low), "ci_high": _finite(row.ci_high)}
            for row in rows
        }
    return json.dumps(content, indent=1, sort_keys=True).encode()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
