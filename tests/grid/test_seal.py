import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.grid.seal import SealError, UnitSeal, content_digest, count_unit, missing_units, seal_content
from mmsoc_ray.grid.sink import receipt_of, write_unit
from mmsoc_ray.results.schema import PREDICTION_SCHEMA

PATH = "runs/x/u.parquet"


def rows(count: int = 4) -> list[dict[str, Any]]:
    return [
        {
            "run_id": "x",
            "unit_id": "u",
            "model": "m",
            "adapter": "none",
            "setting": "zero_shot",
            "task": task,
            "dataset": "d",
            "split": "test",
            "post_key": f"d/test/{number}",
            "sample_id": str(number),
            "round": 0,
            "row_key": f"key {number}",
            "output": f"answer {number}",
            "label_scores": [("a", 0.25), ("b", 0.75)],
            "score": 0.25,
            "latency_s": 0.5,
            "output_tokens": 3,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        for number in range(count // 2)
        for task in ("humor", "sarcasm")
    ]


def table(content: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(content, schema=PREDICTION_SCHEMA)


def counted(folder: Path, content: list[dict[str, Any]], planned: int = 4) -> UnitSeal:
    root = open_storage(folder)
    root.write(PATH, b"")
    (folder / PATH).unlink()
    write_unit(root, PATH, table(content))
    return count_unit(root, PATH, "u", planned)


def test_a_whole_unit_is_counted(tmp_path):
    seal = counted(tmp_path, rows())
    assert (seal.unit_id, seal.rows, seal.digest) == ("u", 4, content_digest(table(rows())))


def test_a_missing_row_is_refused_with_file_and_counts(tmp_path):
    with pytest.raises(SealError, match=f"{tmp_path}/{PATH}: 3 rows, 3 of them distinct, where 4 were planned"):
        counted(tmp_path, rows()[:3])


def test_a_row_too_many_is_refused(tmp_path):
    with pytest.raises(SealError, match="6 rows, 6 of them distinct, where 4"):
        counted(tmp_path, rows(6))


def test_a_row_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(SealError, match="4 rows, 3 of them distinct, where 4"):
        counted(tmp_path, [*rows()[:3], rows()[0]])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_a_damaged_file_is_refused_by_name_with_the_remedy(tmp_path, content):
    open_storage(tmp_path).write(PATH, content)
    with pytest.raises(SealError, match=rf"{tmp_path}/{PATH}: cannot be read .*\. Delete the file and run again\."):
        count_unit(open_storage(tmp_path), PATH, "u", 4)


def test_the_digest_does_not_depend_on_the_rows_order():
    assert content_digest(table(rows()[::-1])) == content_digest(table(rows()))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("output", "another answer"),
        ("output", None),
        ("error", "it failed"),
        ("row_key", "another key"),
        ("post_key", "d/test/9"),
        ("round", 1),
        ("score", 0.5),
        ("label_scores", [("a", 0.75), ("b", 0.25)]),
    ],
)
def test_the_digest_changes_with_what_was_answered(column, value):
    changed = rows()
    changed[1][column] = value
    assert content_digest(table(changed)) != content_digest(table(rows()))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("latency_s", 9.0),
        ("created_at", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1)),
        ("run_id", "y"),
        ("unit_id", "v"),
        ("engine_version", "2"),
    ],
)
def test_the_digest_does_not_cover_when_and_how_it_was_answered(column, value):
    changed = rows()
    changed[1][column] = value
    assert content_digest(table(changed)) == content_digest(table(rows()))


def test_a_seal_says_units_counts_and_digests_in_one_order():
    seals = [UnitSeal("b", 2, "digest b"), UnitSeal("a", 3, "digest a")]
    content = seal_content({"model": "m"}, seals)
    assert content == seal_content({"model": "m"}, seals[::-1])
    read = json.loads(content)
    assert read["rows"] == 5
    assert read["units"] == {"a": {"rows": 3, "digest": "digest a"}, "b": {"rows": 2, "digest": "digest b"}}
    assert read["digest"] != json.loads(seal_content({"model": "m"}, seals[:1]))["digest"]


def test_missing_units_are_those_planned_without_a_file():
    present = ["runs/x/predictions/a.parquet", "runs/x/predictions/stray.parquet"]
    assert missing_units(present, ["a", "b", "c"]) == ["b", "c"]


def test_the_first_writer_of_a_unit_wins(tmp_path):
    root = open_storage(tmp_path)
    assert write_unit(root, PATH, table(rows()))
    first = root.read(PATH)
    assert not write_unit(root, PATH, table(rows()[:1]))
    assert root.read(PATH) == first


def test_a_receipt_counts_requests_errors_and_tokens():
    content = rows()
    content[2]["error"] = "it failed"
    receipt = receipt_of("u", "m", 2, table(content), 1.5)
    assert (receipt.posts, receipt.requests, receipt.errors) == (2, 4, 1)
    assert (receipt.prompt_tokens, receipt.output_tokens, receipt.seconds) == (0, 12, 1.5)


def test_a_key_that_a_unit_repeats_counts_as_asked_once():
    content = rows()
    for row in content:
        row["row_key"] += f" {row['task']}"
    content.append({**content[0], "sample_id": "repeated", "post_key": "d/test/repeated"})
    receipt = receipt_of("u", "m", 3, table(content), 1.5)
    assert (receipt.requests, receipt.repeated) == (5, 1)
    assert sum(work.requests for work in receipt.work) == 4
    assert sum(work.output_tokens for work in receipt.work) == 12
