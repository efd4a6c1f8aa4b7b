import csv
import io
import json
import math
from dataclasses import replace

from mmsoc_ray.results.export import to_csv, to_json, to_markdown
from mmsoc_ray.results.schema import RESULT_SCHEMA
from mmsoc_ray.results.table import ResultRow

ROW = ResultRow(
    "r1", "m", "f", 7.0, "none", "zero_shot", "ocr", "d", "test", "word_error_rate", 0.5, 0.4, 0.6, 120, 2, 3, "x"
)
ROWS = [
    ROW,
    replace(ROW, metric="success_rate", value=0.97, ci_low=0.9, ci_high=1.0),
    replace(ROW, model="worse", value=1.5, ci_low=1.4, ci_high=1.6, n_failed=0),
]
HOSTILE = "a|b\n`<b>*_[x](y)"


def table(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]


def test_markdown_holds_value_interval_success_rate_and_failures() -> None:
    assert table(to_markdown(ROWS)) == [
        ["model", "setting", "ocr ↓<br>word_error_rate<br>d (120)"],
        ["---", "---", "---"],
        ["m", "zero_shot", "**0.50** [0.40, 0.60]<br>ok 97 %<br>2 failed"],
        ["worse", "zero_shot", "1.50 [1.40, 1.60]"],
    ]


def test_markdown_marks_incomplete_cells() -> None:
    text = to_markdown(ROWS, incomplete={("m", "none", "zero_shot", "ocr", "d", "test"): (90, 120)})
    assert table(text)[2] == ["m", "zero_shot", "incomplete (90/120)<br>2 failed"]


def test_markdown_ends_with_the_callers_notes() -> None:
    assert to_markdown(ROWS, notes=("Cut at 24 tokens.",)).endswith("\n- Cut at 24 tokens.\n")


def test_a_hostile_name_stays_in_its_markdown_cell() -> None:
    rows = [replace(row, model=HOSTILE, dataset=HOSTILE) for row in ROWS[:2]]
    lines = [line for line in to_markdown(rows).splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert {line.replace("\\|", "").count("|") for line in lines} == {4}
    assert lines[2].startswith(r"| a\|b\\n\`\<b\>\*\_\[x\](y) |")


def test_csv_reads_back_to_the_same_values() -> None:
    rows = [replace(ROW, model=HOSTILE), replace(ROW, metric="exact_match", value=math.nan, ci_low=1 / 3)]
    read = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert list(read[0]) == RESULT_SCHEMA.names
    assert read[0]["model"] == HOSTILE
    assert (read[1]["value"], float(read[1]["ci_low"])) == ("", 1 / 3)


def test_csv_holds_every_metric_in_the_order_of_the_table() -> None:
    read = list(csv.DictReader(io.StringIO(to_csv(reversed(ROWS)))))
    assert [(row["model"], row["metric"]) for row in read] == [
        ("m", "success_rate"),
        ("m", "word_error_rate"),
        ("worse", "word_error_rate"),
    ]


def test_json_is_strict_and_writes_what_is_no_number_as_null() -> None:
    rows = [replace(ROW, value=math.nan, ci_high=math.inf, model=HOSTILE)]
    read = json.loads(to_json(rows), parse_constant=lambda name: f"not JSON: {name}")
    assert list(read[0]) == RESULT_SCHEMA.names
    assert (read[0]["value"], read[0]["ci_high"], read[0]["ci_low"]) == (None, None, 0.4)
    assert read[0]["model"] == HOSTILE


def test_no_rows_give_an_empty_list_a_header_and_an_empty_table() -> None:
    assert json.loads(to_json([])) == []
    assert to_csv([]).strip().split(",") == RESULT_SCHEMA.names
    assert table(to_markdown([]))[0] == ["model", "setting"]
