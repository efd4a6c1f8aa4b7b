"""Aggregation: one task per cell turns predictions into metrics. A pure function of the sealed predictions."""

from __future__ import annotations

import contextlib
import gc
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage, open_storage, write_changed
from mmsoc_ray.errors import StorageError
from mmsoc_ray.grid.encoder import PinnedEncoder
from mmsoc_ray.grid.plan import Cell
from mmsoc_ray.grid.seal import DIGESTED, content_digest, unreadable
from mmsoc_ray.results.table import ResultRow
from mmsoc_ray.tasks import ParsePolicy, Task, rounds, without_explanation

if TYPE_CHECKING:
    from mmsoc_ray.results.cells import CellRows

_READ = tuple(dict.fromkeys((*DIGESTED, "dataset", "split", "reference", "output_tokens")))


@dataclass(frozen=True)
class CellJob:
    """What an aggregator task needs.

    Attributes:
        root_uri: Output root.
        run_folder: Folder of the run below it.
        cell: The cell.
        task: Its task.
        policy: How tolerantly its answers are read.
        files: Files of the units that hold its dataset's posts.
        expected: Planned number of posts.
        family: For the results table.
        parameters_b: For the results table.
        run_id: The run.
        bertscore: Encoder of ``bertscore_f1``, where the grid names one.
    """

    root_uri: str
    run_folder: str
    cell: Cell
    task: Task
    policy: ParsePolicy
    files: tuple[str, ...]
    expected: int
    family: str
    parameters_b: float
    run_id: str
    bertscore: PinnedEncoder | None = None


@dataclass(frozen=True)
class CellResult:
    """An aggregated cell.

    Attributes:
        cell: The cell.
        expected: Planned number of posts.
        found: Posts with a prediction.
        rows: Its rows of the results table; empty for a cell that is not complete.
        problem: Why its predictions cannot be read or scored, or None.
    """

    cell: Cell
    expected: int
    found: int
    rows: tuple[ResultRow, ...]
    problem: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every planned post has its prediction, and the cell its scores."""
        return self.found == self.expected and self.problem is None

    @property
    def shortfall(self) -> str:
        """What is said of a cell that is not complete."""
        problem = "" if self.problem is None else f"; {self.problem}"
        return f"incomplete: {self.cell.identity} has {self.found} of {self.expected} posts{problem}"


def aggregate_cell(job: CellJob) -> CellResult:
    """Score one cell and write its file below ``cells/``.

    Of self-improvement, a metric's plain name is that of the last round, which is what the setting comes to;
    ``<metric>@round_<r>`` is that of each round from 0, and ``drift@round_<r>`` how far the answers have moved away
    from the reference since round 0.

    In ``finetuned_explained`` what is scored is the answer alone, without the ``Explanation: ...`` part that the model
    has learnt to give behind it (``tasks.without_explanation``); the predictions keep both.

    A cell without all its posts is written as ``incomplete`` with its counts and no metric, and so is one whose
    predictions cannot be read or scored (a damaged file, a reference outside the task's labels): the other cells of the
    run are aggregated all the same.
    """
    root = open_storage(job.root_uri)
    result, content = score(root, job)
    write_changed(root, f"{job.run_folder}/{job.cell.path}", content)
    return result


def check_cell(job: CellJob) -> tuple[CellResult, str | None]:
    """Score one cell again and compare it with its file; write nothing.

    Returns:
        The cell, and what is wrong with its file, or None.
    """
    root = open_storage(job.root_uri)
    result, content = score(root, job)
    path = f"{job.run_folder}/{job.cell.path}"
    if not root.exists(path):
        return result, f"{root.uri}/{path}: is not there"
    if root.read(path) != content:
        return result, f"{root.uri}/{path}: holds other scores than its predictions give"
    return result, None


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the search for cycles: a cell's many lists hold none, and looking for some takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_without_collector()
def score(root: Storage, job: CellJob) -> tuple[CellResult, bytes]:
    """Score one cell; return it with the content of its file."""
    predictions, problem = _read_cell(root, job)
    source_digest = content_digest(predictions)
    rows: tuple[ResultRow, ...] = ()
    asked = rounds(job.cell.setting)
    if predictions.num_rows == job.expected * asked and problem is None:
        try:
            rows = _rows(job, predictions, source_digest)
        except ValueError as error:
            problem = str(error)
    result = CellResult(job.cell, job.expected, predictions.num_rows // asked, rows, problem)
    return result, _cell_content(job, result, source_digest)


def _read_cell(root: Storage, job: CellJob) -> tuple[pa.Table, str | None]:
    """Return the predictions of a cell sorted by post, and which file cannot be read."""
    cell = job.cell
    tables = []
    problem = None
    for path in job.files:
        try:
            with root.open_input(path) as handle:
                table = pq.ParquetFile(handle, page_checksum_verification=True).read(columns=list(_READ))
        except StorageError:  # a store that does not answer says nothing about the file
            raise
        except (OSError, pa.ArrowException) as error:
            problem = unreadable(root, path, error)
            continue
        wanted = {"adapter": cell.adapter, "setting": cell.setting, "task": cell.task}
        wanted |= {"dataset": cell.dataset, "split": cell.split}
        for column, value in wanted.items():
            table = table.filter(pc.equal(table.column(column), value))
        tables.append(table)
    if not tables:
        return pa.table({name: [] for name in _READ}), problem
    return pa.concat_tables(tables).sort_by("post_key"), problem


def _rows(job: CellJob, predictions: pa.Table, source_digest: str) -> tuple[ResultRow, ...]:
    # The metrics' libraries take seconds to import, which planning and the stream's workers need not wait for.
    from mmsoc_ray.results.cells import score_cell
    from mmsoc_ray.results.rounds import drifts

    identity, policy = job.cell.identity, job.policy
    setting = job.cell.setting
    by_round = [cell_rows(predictions, setting, number) for number in range(rounds(setting))]
    # One identity for all rounds: their intervals come from the same resamples of posts, as they can be compared.
    encoder = job.bertscore.open() if job.bertscore is not None and job.task.kind == "free_text" else None
    scored = [score_cell(job.task, rows, identity=identity, policy=policy, bertscore=encoder) for rows in by_round]
    named = [(metric.name, metric, scored[-1]) for metric in scored[-1].metrics]
    if len(scored) > 1:
        named += [
            (f"{m.name}@round_{number}", m, scores) for number, scores in enumerate(scored) for m in scores.metrics
        ]
        drifted = drifts(job.task, by_round, identity=identity, policy=policy)
        named += [(metric.name, metric, scores) for metric, scores in zip(drifted, scored[1:], strict=True)]
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
            metric=name,
            value=metric.value,
            ci_low=metric.ci_low,
            ci_high=metric.ci_high,
            n=scores.n,
            n_failed=scores.n_failed,
            n_unparsed=scores.n_unparsed,
            source_digest=source_digest,
        )
        for name, metric, scores in named
    )


def read_cell_rows(root: Storage, job: CellJob) -> CellRows:
    """Return what a complete cell came to, as its scores are computed from it: of several rounds the last.

    Raises:
        ValueError: A file cannot be read any more.
    """
    predictions, problem = _read_cell(root, job)
    if problem is not None:
        raise ValueError(problem)
    return cell_rows(predictions, job.cell.setting, rounds(job.cell.setting) - 1)


def cell_rows(predictions: pa.Table, setting: str, number: int) -> CellRows:
    """Return the predictions of one round of a cell as its scores are computed from them; see ``aggregate_cell``."""
    from mmsoc_ray.results.cells import CellRows

    of_round = predictions.filter(pc.equal(predictions.column("round"), number))
    needed = ("post_key", "output", "error", "reference", "output_tokens", "label_scores", "score")
    columns = {name: of_round.column(name).to_pylist() for name in needed}
    if setting == "finetuned_explained":
        columns["output"] = [said and without_explanation(said) for said in columns["output"]]
    return CellRows(
        post_key=columns["post_key"],
        output=columns["output"],
        error=columns["error"],
        reference=columns["reference"],
        output_tokens=columns["output_tokens"],
        label_scores=[None if scores is None else dict(scores) for scores in columns["label_scores"]],
        score=columns["score"],
    )


def _cell_content(job: CellJob, result: CellResult, source_digest: str) -> bytes:
    cell, rows = result.cell, result.rows
    content: dict[str, Any] = {
        "cell": {name: getattr(cell, name) for name in ("model", "adapter", "setting", "task", "dataset", "split")},
        "status": "complete" if result.complete else "incomplete",
        "expected": result.expected,
        "found": result.found,
        "parse_policy": job.policy,
        "source_digest": source_digest,
    }
    if job.bertscore is not None and job.task.kind == "free_text":
        content["bertscore"] = job.bertscore.content
    if result.problem is not None:
        content["problem"] = result.problem
    if rows:
        content |= {"n": rows[0].n, "n_failed": rows[0].n_failed, "n_unparsed": rows[0].n_unparsed}
        content["metrics"] = {
            row.metric: {"value": _finite(row.value), "ci_low": _finite(row.ci_low), "ci_high": _finite(row.ci_high)}
            for row in rows
        }
    return json.dumps(content, indent=1, sort_keys=True).encode()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
