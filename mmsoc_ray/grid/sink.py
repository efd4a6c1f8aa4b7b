"""The sink: a unit's predictions become one durable file, and a receipt for the driver."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage
from mmsoc_ray.grid.pace import CellWork, Receipt


def write_unit(root: Storage, path: str, predictions: pa.Table) -> bool:
    """Write a unit's predictions atomically; the first writer wins. Return whether this call wrote the file."""
    buffer = io.BytesIO()
    pq.write_table(predictions, buffer, compression="zstd", write_page_checksum=True)
    return root.write_once(path, buffer.getvalue())


def receipt_of(unit_id: str, model: str, posts: int, predictions: pa.Table, seconds: float) -> Receipt:
    """Return what the driver is told of a finished unit."""
    sources = predictions.column("reused_from").drop_null()
    new = predictions.filter(pc.is_null(predictions.column("reused_from")))
    asked = _each_key_once(new)
    versions = asked.column("engine_version").drop_null()
    return Receipt(
        unit_id=unit_id,
        model=model,
        posts=posts,
        requests=predictions.num_rows,
        errors=predictions.num_rows - predictions.column("error").null_count,
        prompt_tokens=_sum(predictions, "prompt_tokens"),
        output_tokens=_sum(predictions, "output_tokens"),
        seconds=seconds,
        reused=len(sources),
        reused_from=",".join(sorted(sources.unique().to_pylist())),
        repeated=new.num_rows - asked.num_rows,
        work=_work(asked),
        version=versions[0].as_py() if len(versions) else "",
    )


def _each_key_once(rows: pa.Table) -> pa.Table:
    """Return the first row of each key: an engine was asked no other."""
    first: dict[str, int] = {}
    for place, key in enumerate(rows.column("row_key").to_pylist()):
        first.setdefault(key, place)
    return rows.take(pa.array(first.values(), pa.int64()))


def _work(asked: pa.Table) -> tuple[CellWork, ...]:
    tokens = ("prompt_tokens", "cached_tokens", "output_tokens")
    sums = [([], "count_all"), *((name, "sum") for name in tokens)]
    cells = asked.group_by(["dataset", "setting", "task"]).aggregate(sums).to_pylist()
    return tuple(
        CellWork(cell["dataset"], cell["setting"], cell["task"], cell["count_all"], *(cell[f"{n}_sum"] for n in tokens))
        for cell in cells
    )


def _sum(table: pa.Table, column: str) -> int:
    return int(sum(value or 0 for value in table.column(column).to_pylist()))
