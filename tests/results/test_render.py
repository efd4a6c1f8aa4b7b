import io
import math
import re
import xml.dom.minidom
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from mmsoc_ray.results.cells import HEADLINE
from mmsoc_ray.results.render import render_table, save_svg
from mmsoc_ray.results.table import CellKey, ResultRow
from mmsoc_ray.tasks import TASKS


def cell(
    task: str = "humor",
    value: float = 0.61,
    *,
    model: str = "demo-llava",
    setting: str = "zero_shot",
    dataset: str = "demo_memes",
    family: str = "demo",
    parameters_b: float = 0.157,
    adapter: str = "none",
    interval: tuple[float, float] | None = None,
    ok: float = 1.0,
    n: int = 120,
    n_failed: int = 0,
    run_id: str = "r1",
) -> list[ResultRow]:
    def row(metric: str, number: float, low: float, high: float) -> ResultRow:
        key = (run_id, model, family, parameters_b, adapter, setting, task, dataset, "test", metric)
        return ResultRow(*key, number, low, high, n, n_failed, 0, "digest")

    low, high = interval or (value - 0.07, value + 0.07)
    return [row(HEADLINE.get(task, "macro_f1"), value, low, high), row("success_rate", ok, ok, ok)]


def grid() -> list[ResultRow]:
    rows = []
    for model, family, settings in (
        ("demo-llava", "demo-llava", ("zero_shot", "text_only", "with_ocr")),
        ("smollm2-135m", "smollm2", ("text_only", "with_ocr")),
        ("majority", "baseline", ("zero_shot",)),
    ):
        for setting in settings:
            for place, task in enumerate(TASKS):
                rows += cell(task, 0.3 + place / 50, model=model, family=family, setting=setting)
    return rows


def shown(
    rows: Iterable[ResultRow],
    width: int = 120,
    *,
    notes: tuple[str, ...] = (),
    incomplete: Mapping[CellKey, tuple[int, int]] | None = None,
    color: bool = False,
) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=color, color_system="standard" if color else None, _environ={}
    )
    console.print(render_table(rows, notes=notes, incomplete=incomplete))
    return file.getvalue()


def headings(text: str) -> list[str]:
    return [name for line in text.splitlines() for name in line.replace("↓", "").split() if name in TASKS]


def test_a_cell_shows_value_interval_and_success_rate() -> None:
    text = shown(cell("humor", 0.61, interval=(0.54, 0.68), ok=0.97))
    assert "0.61 [0.54, 0.68]" in text
    assert "ok 97 %" in text


def test_a_column_names_its_task_metric_dataset_and_posts() -> None:
    lines = shown(cell("humor", n=1234)).splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["humor", "macro_f1"]
    assert lines[2].endswith("demo_memes (1,234)")


def test_tasks_stand_in_the_order_of_mm_soc_and_unknown_ones_last() -> None:
    rows = [*cell("ocr"), *cell("aardvark_spotting"), *cell("misinformation"), *cell("humor")]
    assert re.findall(r"misinformation|humor|ocr|aardvark_spotting", shown(rows, 160).splitlines()[0]) == [
        "misinformation",
        "humor",
        "ocr",
        "aardvark_spotting",
    ]


def test_a_task_on_two_datasets_has_two_columns() -> None:
    text = shown([*cell(dataset="politifact"), *cell(dataset="gossipcop")])
    assert "gossipcop (120)" in text
    assert "politifact (120)" in text


def test_models_stand_by_family_and_size_then_setting_and_baselines_last() -> None:
    rows = [
        *cell(model="majority", family="baseline", parameters_b=0.0),
        *cell(model="llava-13b", family="llava", parameters_b=13.0),
        *cell(model="llava-7b", family="llava", parameters_b=7.0, setting="with_ocr"),
        *cell(model="llava-7b", family="llava", parameters_b=7.0, setting="few_shot_16"),
        *cell(model="llava-7b", family="llava", parameters_b=7.0, setting="few_shot_4"),
        *cell(model="llava-7b", family="llava", parameters_b=7.0, setting="zero_shot"),
        *cell(model="llava-7b", family="llava", parameters_b=7.0, setting="finetuned", adapter="lora-a"),
        *cell(model="blip", family="blip", parameters_b=11.0),
    ]
    text = shown(rows)
    labels = re.findall(r"^(blip|llava-\S+|majority|zero_shot|few_shot_\d+|with_ocr|finetuned, lora-a)", text, re.M)
    assert labels == [
        *("blip", "zero_shot"),
        *("llava-7b", "zero_shot", "llava-7b", "few_shot_4", "llava-7b", "few_shot_16", "llava-7b", "with_ocr"),
        *("llava-7b", "finetuned, lora-a"),
        *("llava-13b", "zero_shot"),
        *("majority", "zero_shot"),
    ]


def test_the_highest_value_of_a_column_is_bold() -> None:
    text = shown([*cell(value=0.5), *cell(value=0.7, model="better")], color=True)
    assert "\x1b[1;32m0.70" in text
    assert "\x1b[1;32m0.50" not in text


def test_the_lowest_word_error_rate_is_bold_and_the_column_marked() -> None:
    text = shown([*cell("ocr", value=0.5), *cell("ocr", value=1.7, model="worse")], color=True)
    assert "ocr ↓" in text
    assert "\x1b[1;32m0.50" in text


def test_equal_best_values_are_all_bold() -> None:
    rows = [*cell(value=0.7), *cell(value=0.7, model="b"), *cell(value=0.1, model="c")]
    assert shown(rows, color=True).count("\x1b[1;32m0.70") == 2


def test_a_value_better_than_nothing_is_not_bold() -> None:
    assert "\x1b[1;32m" not in shown([*cell(value=0.7), *cell(value=0.7, model="b")], color=True)


def test_failed_requests_are_shown_where_there_are_some() -> None:
    assert "3 failed" in shown(cell(n_failed=3))
    assert "failed" not in shown(cell())


def test_an_incomplete_cell_is_marked_and_never_the_best() -> None:
    key = ("demo-llava", "none", "zero_shot", "humor", "demo_memes", "test")
    rows = [*cell(value=0.9), *cell(value=0.5, model="b"), *cell(value=0.4, model="c")]
    text = shown(rows, incomplete={key: (90, 120)}, color=True)
    assert "incomplete (90/120)" in text
    assert "0.90" not in text
    assert "\x1b[1;32m0.50" in text


def test_a_run_with_nothing_but_an_incomplete_cell_is_shown() -> None:
    key = ("demo-llava", "none", "zero_shot", "humor", "demo_memes", "test")
    assert "incomplete (0/120)" in shown([], incomplete={key: (0, 120)})


def test_a_crossing_outside_the_grid_is_a_dot_with_a_footnote() -> None:
    text = shown([*cell("humor"), *cell("ocr", model="other")])
    assert text.count("·") == 3
    assert "·: not in the grid" in text


def test_an_undefined_value_is_said_and_not_the_best() -> None:
    undefined = cell(value=math.nan, interval=(math.nan, math.nan))
    text = shown([*undefined, *cell(value=0.2, model="b"), *cell(value=0.1, model="c")], color=True)
    assert "undefined" in text
    assert "nan" not in text
    assert "\x1b[1;32m0.20" in text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1.0, "ok 100 %"), (0.9996, "ok 99.9 %"), (0.0004, "ok 0.1 %"), (0.0, "ok 0 %"), (0.5, "ok 50 %")],
)
def test_a_success_rate_is_never_rounded_to_all_or_nothing(rate: float, text: str) -> None:
    assert text in shown(cell(ok=rate))


def test_many_posts_are_worth_a_third_decimal() -> None:
    assert "0.610 [0.600, 0.620]" in shown(cell(value=0.61, interval=(0.6, 0.62), n=2409))


def test_a_great_error_rate_keeps_the_column_narrow() -> None:
    assert "113 [98.4, 130]" in shown(cell("ocr", 113.4, interval=(98.41, 129.7)))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240])
def test_ten_tasks_fit_every_width_with_every_value_whole(width: int) -> None:
    text = shown(grid(), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert text.count("[") == 60 + 1  # one per cell and one in the footnote
    assert sorted(headings(text)) == sorted(TASKS)


@pytest.mark.parametrize(("width", "bands"), [(80, [3, 3, 2, 2]), (100, [4, 3, 3]), (120, [5, 5]), (240, [10])])
def test_tasks_that_do_not_fit_side_by_side_are_stacked_evenly(width: int, bands: list[int]) -> None:
    lines = [line for line in shown(grid(), width).splitlines() if headings(line) and ":" not in line]
    assert [len(headings(line)) for line in lines] == bands


def test_footnotes_explain_each_metric_once_the_interval_and_the_callers_notes() -> None:
    text = shown(grid(), 240, notes=("Descriptions are cut at 24 new tokens in this grid.",))
    foot = text[text.index("macro_f1:") :].splitlines()
    assert [line.split(":")[0] for line in foot[:4]] == ["macro_f1", "sample_f1", "word_error_rate ↓", "rouge_l"]
    assert "[low, high]: interval at 95 %" in foot[4]
    assert "posts of the split test" in foot[4]
    assert foot[5].strip() == "Descriptions are cut at 24 new tokens in this grid."


def test_names_from_a_users_file_are_shown_and_not_obeyed() -> None:
    rows = cell(model="[red]m[/red]", dataset="a|b\nc\x1b[2J", setting="z\tero")
    text = shown(rows, notes=("note [bold]x[/bold]\x07",), color=True)
    assert "[red]m[/red]" in text
    assert r"a|b\nc\x1b[2J (120)" in text
    assert r"z\tero" in text
    assert r"note [bold]x[/bold]\x07" in text


def test_a_long_name_is_folded_not_cut() -> None:
    text = shown(cell(model="organisation/a-model-with-a-very-long-name-70b-instruct"))
    assert "".join(line.split(" ")[0] for line in text.splitlines()[4:7]).startswith(
        "organisation/a-model-with-a-very-long-name-70b-instruct"
    )


def test_results_of_two_runs_are_refused_with_their_names() -> None:
    with pytest.raises(ValueError, match="shows one run, the rows hold 2: r1, r2"):
        render_table([*cell(), *cell(run_id="r2")])


def test_no_rows_say_so() -> None:
    assert "no results" in shown([])


def test_the_picture_is_the_same_bytes_each_time_and_fetches_nothing(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        save_svg(grid(), tmp_path / name, "mmsoc table <demo> & \x1b")
    picture = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert (tmp_path / "b.svg").read_text(encoding="utf-8") == picture
    xml.dom.minidom.parseString(picture)
    assert "url(http" not in picture.replace('"', "")
    assert "0.34" in picture


def test_cells_that_claim_no_quality_show_the_share_that_could_be_read():
    counts = [row for row in cell("humor", setting="explain", ok=0.9) if row.metric == "success_rate"]
    assert "0.90" in shown(counts)
    assert "undefined" not in shown(counts)
