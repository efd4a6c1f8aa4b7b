"""Explanations of posts' labels: a Parquet file with one row for each post and task that has one."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

EXPLANATIONS_FILE = "explanations.parquet"
"""Where a split's own explanations stand: beside its shards."""

EXPLANATION_SCHEMA = pa.schema([(name, pa.string()) for name in ("post_key", "task", "explanation", "source")])
"""Columns of such a file. ``source`` says who wrote the explanation: ``rule``, or a teacher as ``<model>@<digest>``."""


def explanations_content(rows: Iterable[tuple[str, str, str, str]]) -> bytes:
    """Return the bytes of a file of explanations.

    Args:
        rows: For each its ``post_key``, task, explanation and source, in the order in which they are to stand.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(EXPLANATION_SCHEMA)
    table = pa.table([pa.array(column, pa.string()) for column in columns], schema=EXPLANATION_SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
