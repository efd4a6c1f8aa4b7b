import dataclasses
from collections.abc import Callable, Iterator, Sequence

import pytest

from mmsoc_ray.data import Unit, open_storage, read_manifest
from mmsoc_ray.engines import Answer, PreparedPost
from mmsoc_ray.grid.answer import UnitAnswerer, open_answerer
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.plan import Question
from mmsoc_ray.grid.prepare import prepare_unit
from mmsoc_ray.grid.wire import PreparedUnit
from mmsoc_ray.models import ModelEntry, model_digest
from mmsoc_ray.results.schema import PREDICTION_SCHEMA

ANSWERER = Answerer(ModelEntry("m", "f", 0.1, "transformers", sees_pictures=True), "float32", "digest", {}, 0)
QUESTIONS = tuple(
    Question(task, setting, "toy_memes", "official", 8)
    for task in ("humor", "sarcasm")
    for setting in ("zero_shot", "text_only")
)


class Echo:
    """An engine that answers with what it was asked, then lets ``change`` alter the list of its answers."""

    name = "echo"
    version = "1"

    def __init__(self, change: Callable[[list[Answer]], list[Answer]] = lambda answers: answers) -> None:
        self._change = change
        self.asked = 0

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        self.asked += sum(len(post.requests) for post in posts)
        answers = [
            Answer(
                at,
                number,
                output=f"{post.post_key} {request.task} {request.setting}",
                label_scores={"b": 0.7, "a": 0.3},
            )
            for at, post in enumerate(posts)
            for number, request in enumerate(post.requests)
        ]
        yield from self._change(answers)


@pytest.fixture
def unit(toy) -> PreparedUnit:
    return prepare_unit(
        Unit("u", "toy_memes", "test", "s", 0, 10), toy.memes, QUESTIONS, ANSWERER, lambda unit, posts: []
    )


def answered(unit: PreparedUnit, engine: Echo) -> list[dict[str, object]]:
    table = UnitAnswerer("run", ANSWERER, {"toy_memes": engine})(unit)
    assert table.schema == PREDICTION_SCHEMA
    return table.to_pylist()


@pytest.mark.parametrize("change", [lambda a: a, lambda a: a[::-1], lambda a: a[1::2] + a[::2]])
def test_answers_in_any_order_reach_their_own_rows(unit, change):
    rows = answered(unit, Echo(change))
    assert len(rows) == 40
    for row in rows:
        if row["error"] is None:
            post_key = "toy_memes/test/m0" if row["sample_id"] == "m1" else row["post_key"]
            assert row["output"] == f"{post_key} {row['task']} {row['setting']}"
            assert row["label_scores"] == [("a", 0.3), ("b", 0.7)]


def test_posts_with_the_same_text_and_picture_are_asked_once(unit):
    engine = Echo()
    rows = answered(unit, engine)
    said = {
        post: [(row["row_key"], row["output"], row["error"]) for row in rows if row["sample_id"] == post]
        for post in ("m0", "m1")
    }
    assert said["m0"] == said["m1"]
    assert engine.asked == len({row["row_key"] for row in rows if row["error"] is None})


def test_the_score_is_that_of_the_tasks_positive_label(unit):
    scores = {"humorous": 0.7, "sarcastic": 0.2}
    rows = answered(unit, Echo(lambda answers: [dataclasses.replace(a, label_scores=scores) for a in answers]))
    found = {(row["task"], row["score"]) for row in rows if row["error"] is None}
    assert found == {("humor", 0.7), ("sarcasm", 0.2)}


def test_a_request_that_cannot_be_asked_is_a_row_with_its_error(unit):
    engine = Echo()
    rows = answered(unit, engine)
    failed = [row for row in rows if row["error"]]
    assert engine.asked == 40 - len(failed) - len(QUESTIONS)
    assert {(row["sample_id"], row["setting"]) for row in failed} == {
        (post, "zero_shot") for post in ("m2", "m3", "m4")
    }
    assert {(row["output"], row["finish_reason"], row["output_tokens"]) for row in failed} == {(None, "error", 0)}


def test_rows_carry_the_run_the_unit_and_the_engine(unit):
    (stamp,) = {
        tuple(row[name] for name in ("run_id", "unit_id", "model", "adapter", "engine", "engine_version"))
        for row in answered(unit, Echo())
    }
    assert stamp == ("run", "u", "m", "none", "echo", "1")


def test_an_engine_that_leaves_a_request_out_is_refused(unit):
    with pytest.raises(RuntimeError, match="engine echo left 1 of its requests without an answer"):
        answered(unit, Echo(lambda answers: answers[:-1]))


def test_an_engine_that_answers_twice_is_refused(unit):
    with pytest.raises(RuntimeError, match="twice"):
        answered(unit, Echo(lambda answers: [*answers, answers[3]]))


@pytest.mark.parametrize("stray", [Answer(99, 0, "x"), Answer(0, 99, "x"), Answer(-1, 0, "x")])
def test_an_answer_to_what_was_not_asked_is_refused(unit, stray):
    with pytest.raises(RuntimeError, match="not asked"):
        answered(unit, Echo(lambda answers: [*answers[:-1], stray]))


def test_an_engine_is_not_called_for_a_unit_in_which_nothing_can_be_asked(toy):
    unit = prepare_unit(
        Unit("u", "toy_memes", "test", "s", 0, 1), toy.memes[2:3], QUESTIONS[::2], ANSWERER, lambda u, p: []
    )
    engine = Echo()
    (first, second) = answered(unit, engine)
    assert engine.asked == 0
    assert first["error"] == second["error"] == "PictureError: the post has no picture"


def test_another_checkpoint_on_the_actors_node_is_refused(toy):
    entry = ModelEntry("tiny", "f", 0.1, "transformers", checkpoint=str(toy.checkpoint))
    planned = Answerer(entry, "float32", "0" * 64, {}, 0)
    with pytest.raises(
        RuntimeError, match=f"has the digest {model_digest(toy.checkpoint)[:12]}, the run was planned with 0000"
    ):
        open_answerer("run", planned, open_storage(toy.data), {}, threads=1)


def test_a_baseline_has_a_fit_for_each_dataset(toy):
    data = open_storage(toy.data)
    fit = {name: read_manifest(data, name, "train") for name in ("toy_memes", "toy_news")}
    answerer = Answerer(
        ModelEntry("majority", "baseline", 0, "baseline"), None, "", {n: f.digest for n, f in fit.items()}, 0
    )
    answer = open_answerer("run", answerer, data, fit, threads=1)
    posts = {"toy_memes": toy.memes}
    unit = prepare_unit(
        Unit("u", "toy_memes", "test", "s", 0, 10), posts["toy_memes"], QUESTIONS[:1], answerer, lambda u, p: []
    )
    assert set(answer(unit).column("output").to_pylist()) == {"humorous"}
