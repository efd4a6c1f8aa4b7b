import io
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.results.schema import PREDICTION_SCHEMA, RESULT_SCHEMA
from mmsoc_ray.results.table import ResultRow, read_results, write_results

ROW = ResultRow(
    run_id="r1",
    model="demo-llava",
    family="demo",
    parameters_b=0.16,
    adapter="none",
    setting="zero_shot",
    task="humor",
    dataset="demo_memes",
    split="test",
    metric="macro_f1",
    value=0.61,
    ci_low=0.54,
    ci_high=0.68,
    n=120,
    n_failed=1,
    n_unparsed=3,
    source_digest="abc",
)
ROWS = [
    ROW,
    replace(ROW, metric="auroc", value=math.nan, ci_low=math.nan, ci_high=math.nan),
    replace(ROW, task="ocr", metric="word_error_rate", value=1.4),
    replace(ROW, model="majority", family="baseline", parameters_b=0.0),
]


def assert_same(left: list[ResultRow], right: list[ResultRow]) -> None:
    assert [repr(row) for row in left] == [repr(row) for row in right]  # repr, because NaN differs from itself


def test_rows_survive_the_file_in_the_order_of_the_table() -> None:
    ordered = sorted(ROWS, key=lambda row: (row.model, row.task, row.metric))
    assert_same(read_results(write_results(ROWS)), ordered)


def test_order_of_the_rows_does_not_change_a_byte() -> None:
    assert write_results(ROWS) == write_results(reversed(ROWS))


def test_a_changed_value_changes_the_bytes() -> None:
    assert write_results(ROWS) != write_results([replace(ROW, value=0.62), *ROWS[1:]])


def test_the_file_holds_the_columns_of_the_contract_and_no_pandas_metadata() -> None:
    schema = pq.read_schema(pa.BufferReader(write_results(ROWS)))
    assert schema.equals(RESULT_SCHEMA)
    assert not schema.metadata


def test_nan_is_stored_as_null() -> None:
    table = pq.read_table(pa.BufferReader(write_results(ROWS)))
    assert table.column("value").null_count == 1


def test_no_rows_give_a_readable_empty_table() -> None:
    assert read_results(write_results([])) == []


def test_pyarrow_alone_reads_the_folder_of_all_runs(tmp_path: Path) -> None:
    for run_id in ("r1", "2026-08-01"):
        folder = tmp_path / f"run_id={run_id}"
        folder.mkdir()
        (folder / "part-0.parquet").write_bytes(write_results([replace(row, run_id=run_id) for row in ROWS]))
    table = pq.read_table(tmp_path)
    assert set(table.column_names) == set(RESULT_SCHEMA.names)
    assert sorted({row.run_id for row in read_results(table)}) == ["2026-08-01", "r1"]


def test_a_metric_that_stands_twice_is_refused_with_its_cell() -> None:
    with pytest.raises(ValueError, match=r"'macro_f1' of cell demo-llava/none/zero_shot/humor/demo_memes/test.*'r1'"):
        write_results([*ROWS, replace(ROW, value=0.1)])


def test_a_missing_column_is_named() -> None:
    table = pq.read_table(pa.BufferReader(write_results(ROWS))).drop_columns(["ci_low"])
    with pytest.raises(ValueError, match="without the columns ci_low"):
        read_results(table)


def test_bytes_that_are_no_parquet_are_refused() -> None:
    with pytest.raises(ValueError, match="5 bytes that are no Parquet file"):
        read_results(b"hello")


def test_a_prediction_survives_its_file_with_every_type() -> None:
    row = {field.name: "x" for field in PREDICTION_SCHEMA if pa.types.is_string(field.type)}
    numbers = {"round": 0, "prompt_tokens": 9, "cached_tokens": 0, "output_tokens": 2, "score": 0.5, "latency_s": 0.1}
    full = {**row, **numbers, "label_scores": [("no", 0.5), ("yes", 0.5)], "reference": ["yes"], "created_at": 0}
    table = pa.Table.from_pylist([full], schema=PREDICTION_SCHEMA)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert pq.read_table(pa.BufferReader(sink.getvalue())).equals(table)
