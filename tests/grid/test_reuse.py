"""Reuse across runs without Ray: real plans, preparation and files; an engine that counts what it is asked."""

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import load_grid, narrow
from mmsoc_ray.data import Storage, open_storage, read_unit, write_split
from mmsoc_ray.engines import PROMPT_ERROR, Answer, PreparedPost, engine_version
from mmsoc_ray.grid import open_run, plan_grid
from mmsoc_ray.grid.answer import UnitAnswerer
from mmsoc_ray.grid.prepare import Words, render_unit
from mmsoc_ray.grid.reuse import AnswerSource, earlier_runs, index_answers, read_answers
from mmsoc_ray.grid.run import Run
from mmsoc_ray.grid.sink import write_unit
from mmsoc_ray.models import get_model

ASKED = 40  # of 44 requests: a meme repeats another, and one question of one picture is asked once


@dataclass
class Counting:
    """An engine whose answers follow from prompt and picture; it counts them, and fails as it is told."""

    version: str = "1"
    asked: int = 0
    told: dict[str, str] = field(default_factory=dict)  # words of a prompt to the error that they cause
    name: str = "counting"

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        for at, post in enumerate(posts):
            for number, request in enumerate(post.requests):
                self.asked += 1
                shown = post.image_sha256 if request.with_image else None
                assert (post.image is not None) or not request.with_image
                error = next((e for words, e in self.told.items() if words in request.prompt), None)
                said = hashlib.sha256(f"{request.prompt} {shown}".encode()).hexdigest()[:6]
                scores = None if request.labels is None else dict.fromkeys(request.labels, 0.5)
                yield Answer(at, number, None if error else said, error, label_scores=None if error else scores)


@dataclass
class Night:
    """What a run came to: the rows of its model, how many requests its engine was asked, and what was noted."""

    rows: list[dict[str, Any]]
    asked: int
    notes: list[str]
    engine_units: int

    @property
    def content(self) -> list[dict[str, Any]]:
        of_the_run = ("run_id", "latency_s", "created_at", "reused_from", "unit_id", "engine", "engine_version")
        return [{name: value for name, value in row.items() if name not in of_the_run} for row in self.rows]


class Nights:
    """Runs of the toy grid's tiny model below one root."""

    def __init__(self, toy: Any, folder: Path) -> None:
        self._toy, self.folder = toy, folder
        self.root = open_storage(folder / "out")

    def run(
        self,
        run_id: str,
        *,
        version: str | None = "1",
        tasks: tuple[str, ...] | None = None,
        settings: str = "zero_shot, text_only",
        change: tuple[str, str] = ("", ""),
        data: Storage | None = None,
        limit: int | None = None,
        units: int | None = None,
        engine: Counting | None = None,
        reuse: bool = True,
    ) -> Night:
        """Do what ``execute`` does of a run with one model, without Ray; only the first ``units`` of them."""
        run = self._open(run_id, tasks, settings, change, data or open_storage(self._toy.data), limit)
        (model,), notes = run.models, list[str]()
        engine = engine or Counting()
        content = {model.answerer.content(dataset)["model_digest"] for dataset in model.plan.datasets}
        assert len(content) == 1
        runs = earlier_runs(self.root, run_id, notes.append) if reuse else []
        index = index_answers(self.root, AnswerSource(tuple(runs), version), notes.append)

        def look_up(keys: Any) -> dict[str, dict[str, Any]]:
            found, problems = read_answers(self.root, index.files_of(list(keys)), version)
            notes.extend(problems)
            return found

        rows, engine_units = [], 0
        for unit in model.plan.units()[:units]:
            posts = read_unit(run.data, unit)
            rendered = render_unit(unit, posts, model.plan.questions_on(unit.dataset), model.answerer, _words, look_up)
            whole = rendered.without_engine()
            engine_units += whole is None
            answer = UnitAnswerer(run_id, model.answerer, {unit.dataset: engine} if whole is None else None)
            table = answer(whole or rendered.prepared(dict(rendered.decode())))
            write_unit(self.root, run.folder.unit(model.name, model.config, unit.unit_id), table)
            rows += table.to_pylist()
        rows.sort(key=lambda row: (row["setting"], row["task"], row["post_key"], row["round"]))
        return Night(rows, engine.asked, notes, engine_units)

    def _open(
        self,
        run_id: str,
        tasks: tuple[str, ...] | None,
        settings: str,
        change: tuple[str, str],
        data: Storage,
        limit: Any,
    ) -> Run:
        models = f"  tiny: {{checkpoint: {self._toy.checkpoint}, settings: [{settings}], dtype: float32}}"
        file = self._toy.grid(self.folder / f"{run_id}.yaml", models=models)
        assert change[0] in file.read_text()
        file.write_text(file.read_text().replace(*change, 1))
        grid = narrow(load_grid(file), models=None, tasks=tasks)
        return open_run(plan_grid(grid, data, limit=limit), data, self.root, run_id, lambda text: None)

    def file(self, run_id: str, unit: str) -> Path:
        (file,) = (self.folder / "out").glob(f"runs/{run_id}/*/*/predictions/{unit}.parquet")
        return file


def _words(unit: Any, posts: Sequence[Any]) -> list[Words]:
    return [Words(None, "PictureError: x") if post.image is None else Words("words") for post in posts]


@pytest.fixture
def nights(toy, tmp_path):
    return Nights(toy, tmp_path)


def test_an_unchanged_grid_asks_nothing(nights):
    first, second = nights.run("one"), nights.run("two")
    assert first.asked == ASKED
    assert (second.asked, second.engine_units) == (0, 0)
    assert second.content == first.content
    assert {row["reused_from"] for row in second.rows} == {"one", None}


def test_a_further_task_costs_only_itself(nights):
    nights.run("one", tasks=("humor", "misinformation"))
    second = nights.run("two")
    assert second.asked == 15
    asked = [row for row in second.rows if row["reused_from"] is None and row["error"] is None]
    assert {row["task"] for row in asked} == {"sarcasm"}


@pytest.mark.parametrize(
    ("change", "task"),
    [
        (("sarcasm: {max_new_tokens: 3}", "sarcasm: {max_new_tokens: 3, prompt: tweet}"), "sarcasm"),
        (("humor: {max_new_tokens: 3}", "humor: {max_new_tokens: 4}"), "humor"),
        (("humor: {max_new_tokens: 3}", "humor: {max_new_tokens: 3, scored: true}"), "humor"),
    ],
)
def test_a_changed_question_asks_only_its_cells_again(nights, change, task):
    first, second = nights.run("one"), nights.run("two", change=change)
    assert second.asked == 15
    assert {row["task"] for row in second.rows if row["reused_from"] is None and row["error"] is None} == {task}
    assert [row for row in second.content if row["task"] != task] == [r for r in first.content if r["task"] != task]


def test_none_forbids_to_take_anything_over(nights):
    nights.run("one")
    assert nights.run("two", reuse=False).asked == ASKED


def test_posts_in_other_units_are_known_all_the_same(nights, toy):
    first = nights.run("one")
    data = open_storage(nights.folder / "data")
    shutil.copytree(toy.data, data.uri)
    write_split(data, "toy_memes", "test", toy.memes[::-1], posts_per_unit=3)
    second = nights.run("two", data=data)
    assert second.asked == 0
    assert second.content == first.content


def test_one_changed_picture_costs_its_own_requests(nights, toy, make_picture):
    nights.run("one")
    data = open_storage(nights.folder / "data")
    shutil.copytree(toy.data, data.uri)
    memes = [dataclasses.replace(p, image=make_picture(99)) if p.sample_id == "m7" else p for p in toy.memes]
    write_split(data, "toy_memes", "test", memes, posts_per_unit=4)
    second = nights.run("two", data=data)
    asked = [row for row in second.rows if row["reused_from"] is None and row["error"] is None]
    assert {(row["sample_id"], row["setting"]) for row in asked} == {("m7", "zero_shot")}
    assert second.asked == 2


def test_a_truncated_file_is_named_and_costs_its_own_answers(nights):
    first = nights.run("one")
    damaged = nights.file("one", "toy_memes-test-00000-00002")
    damaged.write_bytes(damaged.read_bytes()[:300])
    second = nights.run("two")
    assert second.asked == 2 * 2 * 2
    assert second.engine_units == 1
    assert [str(damaged) in note for note in second.notes] == [True]
    assert second.content == first.content


def test_an_answer_with_a_flipped_byte_is_not_taken_over(nights):
    first = nights.run("one")
    damaged = nights.file("one", "toy_news-test-00000-00000")
    columns = pq.read_schema(damaged).names
    column = pq.read_metadata(damaged).row_group(0).column(columns.index("output"))
    content = bytearray(damaged.read_bytes())
    content[column.dictionary_page_offset + column.total_compressed_size - 3] ^= 1
    damaged.write_bytes(bytes(content))
    second = nights.run("two")
    assert second.asked == 4 * 2
    assert str(damaged) in second.notes[0]
    assert second.content == first.content


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"configuration": {"models": {"tiny": {}}}, "models": {}}'])
def test_a_run_with_a_damaged_plan_has_no_say(nights, content):
    nights.run("one")
    plan = nights.folder / "out/runs/one/plan.json"
    plan.write_bytes(content)
    second = nights.run("two")
    assert second.asked == ASKED
    assert [str(plan) in note for note in second.notes] == [True]


def test_an_unfinished_run_is_taken_over_as_far_as_it_is(nights):
    first = nights.run("one", units=2)
    second = nights.run("two")
    assert second.asked == ASKED - first.asked
    assert second.engine_units == 3


def test_only_answers_of_the_same_version_are_taken_over_unless_any_is_said(nights):
    nights.run("one", engine=Counting(version="0"))
    assert nights.run("two", version="1").asked == ASKED
    assert nights.run("three", version="0").asked == 0
    assert nights.run("four", version=None).asked == 0


def test_what_was_taken_over_stands_in_the_index_once(nights):
    nights.run("one")
    nights.run("two")
    source = AnswerSource(tuple(earlier_runs(nights.root, "three", pytest.fail)))
    assert len(index_answers(nights.root, source, pytest.fail)) == 44
    assert {row["reused_from"] for row in nights.run("three").rows} == {"one", None}


def test_answers_outlive_the_run_that_paid_for_them(nights):
    nights.run("one")
    nights.run("two")
    nights.file("one", "toy_memes-test-00000-00000").unlink()
    third = nights.run("three")
    assert third.asked == 0
    assert {row["reused_from"] for row in third.rows} == {"one", "two", None}


def test_rounds_and_scores_are_taken_over_as_they_are(nights):
    settings, change = "zero_shot, with_ocr, self_improve_2", ("humor: {max", "humor: {scored: true, max")
    first = nights.run("one", settings=settings, change=change)
    second = nights.run("two", settings=settings, change=change)
    assert second.asked == 0
    assert second.content == first.content
    assert {row["score"] for row in second.rows} == {0.5, None}


def test_further_rounds_are_asked_from_the_known_ones(nights):
    nights.run("one", settings="self_improve_1")
    second = nights.run("two", settings="self_improve_2")
    assert {row["round"] for row in second.rows if row["reused_from"] is None and row["error"] is None} == {2}
    assert second.content == nights.run("three", settings="self_improve_2", reuse=False).content


def test_an_error_is_asked_again_but_one_of_the_prompt_itself(nights):
    errors = {"caption 6": "OutOfMemoryError: no room", "caption 7": f"{PROMPT_ERROR}too long"}
    first = nights.run("one", engine=Counting(told=errors), settings="text_only")
    second = nights.run("two", engine=Counting(told=errors), settings="text_only")
    assert first.asked == 23
    assert second.asked == 2
    assert second.content == first.content


def test_a_run_of_another_version_of_a_file_without_answers_is_no_error(nights):
    nights.run("one")
    file = nights.file("one", "toy_news-test-00000-00000")
    pq.write_table(pa.table({"row_key": ["not a digest"], "other": [1]}), file)
    second = nights.run("two")
    assert second.asked == 8
    assert str(file) in second.notes[0]


def test_a_served_models_version_is_not_known_and_a_baselines_is(toy):
    assert engine_version(get_model("majority")) == "majority-1"
    served = dataclasses.replace(get_model("majority"), engine="endpoint")
    assert engine_version(served) is None


def test_the_version_that_is_expected_is_the_one_that_the_engine_records():
    from mmsoc_ray.engines.transformers import TransformersEngine

    entry = dataclasses.replace(get_model("majority"), engine="transformers")
    assert engine_version(entry) == TransformersEngine.version
