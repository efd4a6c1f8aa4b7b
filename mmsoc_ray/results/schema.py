"""Columns of the two tables that a run leaves behind: its predictions and its results."""

from __future__ import annotations

import pyarrow as pa


def _text(name: str, *, nullable: bool = True) -> pa.Field:
    return pa.field(name, pa.string(), nullable=nullable)


RESULT_SCHEMA = pa.schema(
    [
        pa.field("run_id", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        _text("model", nullable=False),
        _text("family"),
        pa.field("parameters_b", pa.float64()),
        _text("adapter"),
        _text("setting", nullable=False),
        _text("task", nullable=False),
        _text("dataset", nullable=False),
        _text("split", nullable=False),
        _text("metric", nullable=False),
        pa.field("value", pa.float64()),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("n_failed", pa.int64(), nullable=False),
        pa.field("n_unparsed", pa.int64(), nullable=False),
        _text("source_digest"),
    ]
)
"""Columns of the results table: a row is one metric of one cell (model, adapter, setting, task, dataset, split).

``run_id`` is dictionary-encoded because ``pyarrow.parquet.read_table("<root>/results")`` derives it from the folders'
names (``run_id=...``) as a dictionary too, and refuses files in which it is a plain string. A run id of digits only
would be derived as an integer and is refused as well.
"""

PREDICTION_SCHEMA = pa.schema(
    [
        _text("run_id", nullable=False),
        _text("unit_id", nullable=False),
        _text("model", nullable=False),
        _text("adapter"),
        _text("setting", nullable=False),
        _text("task", nullable=False),
        _text("dataset", nullable=False),
        _text("split", nullable=False),
        _text("post_key", nullable=False),
        _text("sample_id", nullable=False),
        pa.field("round", pa.int32(), nullable=False),
        _text("row_key", nullable=False),
        _text("image_sha256"),
        _text("prompt"),
        _text("output"),
        pa.field("label_scores", pa.map_(pa.string(), pa.float64())),
        pa.field("score", pa.float64()),
        pa.field("reference", pa.list_(pa.string())),
        _text("error"),
        _text("finish_reason"),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("cached_tokens", pa.int32()),
        pa.field("output_tokens", pa.int32()),
        pa.field("latency_s", pa.float64()),
        _text("engine"),
        _text("engine_version"),
        _text("reused_from"),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns of a unit's file: a row is one answer. (model, adapter, setting, task, post_key, round) stands once."""
