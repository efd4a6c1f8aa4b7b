"""Explanations of posts' labels: a Parquet file with one row for each post and task that has one."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

EXPLANATIONS_FILE = "explanations.parquet"
"""Where a split's own explanations stand: beside its shards."""

EXPLANATION_SCHEMA = pa.schema([(name, pa.string()) for name in ("post_key", "task", "explanation", "source")])
"""Columns of such a file. ``source`` says who wrote the explanation: ``rule``, or a teacher as ``<model>@<digest>``."""


ROWS_AT_ONCE = 8192
"""Rows of a row group: so many are held at a time while a file is written."""


def explanations_content(rows: Iterable[tuple[str, str, str, str]]) -> bytes:
    """Return the bytes of a file of explanations.

    Args:
        rows: For each its ``post_key``, task, explanation and source, in the order in which they are to stand.
    """
    buffer, left = io.BytesIO(), iter(rows)
    with pq.ParquetWriter(buffer, EXPLANATION_SCHEMA, compression="zstd") as writer:
        while some := list(itertools.islice(left, ROWS_AT_ONCE)):
            columns = [pa.array(column, pa.string()) for column in zip(*some, strict=True)]
            writer.write_table(pa.table(columns, schema=EXPLANATION_SCHEMA))
    return buffer.getvalue()
