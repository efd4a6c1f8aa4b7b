"""The results table as rows and as Parquet bytes: the same rows give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.results.schema import RESULT_SCHEMA

CellKey = tuple[str, str, str, str, str, str]
"""(model, adapter, setting, task, dataset, split)."""


@dataclass(frozen=True)
class ResultRow:
    """One metric of one cell.

    Attributes:
        run_id: The run that the predictions belong to.
        model: Name in the model registry.
        family: Models that differ in size only share it.
        parameters_b: Parameters in billions; 0 for a baseline.
        adapter: Name of the fine-tuned adapter, ``none`` for the model as it came.
        setting: For example ``zero_shot``.
        task: For example ``humor``.
        dataset: For example ``memotion``.
        split: For example ``test``.
        metric: For example ``macro_f1``.
        value: The metric; NaN where it is undefined.
        ci_low: Lower end of the interval at 95 %; NaN where there is none.
        ci_high: Upper end of the interval at 95 %; NaN where there is none.
        n: Posts of the cell.
        n_failed: Rows of the cell with an error.
        n_unparsed: Rows of the cell with an output that the parser could not read.
        source_digest: Digest of the predictions that the row was computed from.
    """

    run_id: str
    model: str
    family: str
    parameters_b: float
    adapter: str
    setting: str
    task: str
    dataset: str
    split: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    n_failed: int
    n_unparsed: int
    source_digest: str

    @property
    def cell(self) -> CellKey:
        """The cell that the row belongs to."""
        return (self.model, self.adapter, self.setting, self.task, self.dataset, self.split)


def sort_rows(rows: Iterable[ResultRow]) -> list[ResultRow]:
    """Return rows in the order of the table: by cell, then metric, then run."""
    return sorted(rows, key=lambda row: (*row.cell, row.metric, row.run_id))


def write_results(rows: Iterable[ResultRow]) -> bytes:
    """Return rows as the bytes of a Parquet file with ``RESULT_SCHEMA``.

    The same rows in any order give the same bytes (with the same pyarrow). NaN is stored as null, so that readers
    which aggregate skip it.

    Raises:
        ValueError: If a metric of a cell stands twice in a run.
    """
    ordered = sort_rows(rows)
    _refuse_duplicates(ordered)
    columns: list[pa.Array] = []
    for field in RESULT_SCHEMA:
        values = [getattr(row, field.name) for row in ordered]
        columns.append(pa.array(values, type=field.type, from_pandas=pa.types.is_floating(field.type)))
    table = pa.Table.from_arrays(columns, schema=RESULT_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=3, version="2.6", row_group_size=65_536)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_results(source: bytes | pa.Table) -> list[ResultRow]:
    """Read rows back, from a file's bytes or from a table, for example that of all runs.

    Columns beyond ``RESULT_SCHEMA`` are ignored; null becomes NaN.

    Raises:
        ValueError: If a column is missing, or the bytes are no Parquet file.
    """
    table = source if isinstance(source, pa.Table) else _parse(source)
    missing = [field.name for field in RESULT_SCHEMA if field.name not in table.column_names]
    if missing:
        raise ValueError(
            f"results table without the columns {', '.join(missing)}; it has {', '.join(table.column_names)}. "
            "Give a file that `mmsoc run` wrote under <root>/results."
        )
    columns = [_values(table.column(field.name), field) for field in RESULT_SCHEMA]
    return [ResultRow(**dict(zip(RESULT_SCHEMA.names, values, strict=True))) for values in zip(*columns, strict=True)]


def _parse(content: bytes) -> pa.Table:
    # Without threads and from memory: a thread of Arrow that outlives the interpreter aborts the process.
    try:
        return pq.read_table(pa.BufferReader(content), use_threads=False, partitioning=None)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{len(content)} bytes that are no Parquet file: {error}") from error


def _values(column: pa.ChunkedArray, field: pa.Field) -> list[Any]:
    values = column.to_pylist()
    if pa.types.is_floating(field.type):
        return [math.nan if value is None else float(value) for value in values]
    if pa.types.is_integer(field.type):
        return [0 if value is None else int(value) for value in values]
    return ["" if value is None else str(value) for value in values]


def _refuse_duplicates(ordered: list[ResultRow]) -> None:
    for before, after in pairwise(ordered):
        if (before.run_id, before.cell, before.metric) == (after.run_id, after.cell, after.metric):
            raise ValueError(
                f"metric {after.metric!r} of cell {'/'.join(after.cell)} stands twice in run {after.run_id!r}; "
                "a cell is aggregated once."
            )
