import contextlib
import dataclasses
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.engines import Answer
from mmsoc_ray.errors import StorageError
from mmsoc_ray.grid.answer import UnitAnswerer
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.asking import TRIES_TOGETHER, CarefulAnswerer, EngineBrokenError, Undecided
from mmsoc_ray.grid.attempts import Attempts, engine_calls
from mmsoc_ray.grid.wire import REQUEST_SCHEMA, PreparedUnit
from mmsoc_ray.models import ModelEntry

ANSWERER = Answerer(ModelEntry("m", "f", 0.1, "transformers"), "float32", "digest", {}, 0)

TASKS = ("humor", "sarcasm")


class DeathError(BaseException):
    """The engine's process ends."""


class Engine:
    """Answers with the post's key; ``bad`` posts do as they are told. Counts how often each post was asked."""

    name, version = "echo", "1"

    def __init__(self, bad: dict[str, type[BaseException]]) -> None:
        self.bad = bad
        self.asked: list[tuple[str, ...]] = []

    def answer(self, posts):
        self.asked.append(tuple(post.post_key for post in posts))
        for at, post in enumerate(posts):
            if post.post_key in self.bad:
                raise self.bad[post.post_key]("bad post")
            for number, request in enumerate(post.requests):
                yield Answer(at, number, f"{post.post_key} {request.prompt}")


def unit(keys: Sequence[str], *, setting: str = "text_only", unanswerable: Sequence[str] = ()) -> PreparedUnit:
    empty = dict.fromkeys(REQUEST_SCHEMA.names)
    requests = tuple(
        {
            **empty,
            "post": at,
            "setting": setting,
            "task": task,
            "dataset": "d",
            "split": "test",
            "post_key": key,
            "sample_id": key,
            "round": 0,
            "row_key": f"{key}-{task}",
            "prompt": f"{task}?",
            "question": f"{task}?",
            "with_image": False,
            "example_images": [],
            "places": [],
            "max_new_tokens": 4,
            "reference": [],
            "error": "PictureError: broken" if key in unanswerable else None,
        }
        for at, key in enumerate(keys)
        for task in TASKS
    )
    return PreparedUnit("u-1", len(keys), requests, {})


@pytest.fixture
def ask(tmp_path) -> Callable[..., pa.Table | Undecided]:
    """Ask an engine, in a new process whenever the last has died."""

    def call(engine: Engine, asked: PreparedUnit, place: str = "here", deaths: int = 99) -> pa.Table | Undecided:
        attempts = Attempts(open_storage(tmp_path), "attempts", place)
        for _ in range(deaths):
            careful = CarefulAnswerer(UnitAnswerer("run", ANSWERER, {"d": engine}), attempts)  # type: ignore[dict-item]
            try:
                return careful(asked)
            except DeathError:
                continue
        raise AssertionError("the engine died without end")

    call.calls = lambda: engine_calls(open_storage(tmp_path), "attempts")  # type: ignore[attr-defined]
    return call


def partly_known(asked: PreparedUnit) -> PreparedUnit:
    """Return the unit with its answers to humor held by an earlier run."""
    requests = tuple({**request, "question": None} for request in asked.requests)
    known = {
        request["row_key"]: {"output": "known", "label_scores": None, "error": None, "reused_from": "earlier"}
        for request in requests
        if request["task"] == "humor"
    }
    return dataclasses.replace(asked, requests=requests, known=known)


def content(predictions: pa.Table) -> list[dict[str, object]]:
    return predictions.drop_columns(["created_at", "latency_s"]).to_pylist()


def test_a_good_unit_is_asked_once_as_a_whole(ask):
    engine = Engine({})
    ask(engine, unit("abc"))
    assert engine.asked == [("a", "b", "c")]
    assert ask.calls() == {("u-1", None): 1}


@pytest.mark.parametrize("setting", ["text_only", "self_improve_2"])
@pytest.mark.parametrize("fault", [DeathError, RuntimeError])
def test_neighbours_of_a_bad_post_have_the_rows_that_they_have_without_it(ask, tmp_path, fault, setting):
    calm = content(UnitAnswerer("run", ANSWERER, {"d": Engine({})})(unit("abcd", setting=setting)))
    found = content(ask(Engine({"c": fault}), unit("abcd", setting=setting)))
    assert [r["row_key"] for r in found if r["round"] == 0] == [r["row_key"] for r in calm if r["round"] == 0]
    assert [(r["post_key"], r["task"], r["round"]) for r in found] == [
        (r["post_key"], r["task"], r["round"]) for r in calm
    ]
    assert [r for r in found if r["post_key"] != "c"] == [r for r in calm if r["post_key"] != "c"]
    expected = {
        DeathError: "Quarantined: the engine died or hung 3 times over this post alone",
        RuntimeError: "RuntimeError: bad post",
    }
    assert {r["error"] for r in found if r["post_key"] == "c"} == {expected[fault]}
    assert {(r["output"], r["finish_reason"], r["engine"]) for r in found if r["post_key"] == "c"} == {
        (None, "error", "echo")
    }


def test_a_post_that_ends_its_process_is_asked_three_times_with_its_unit_and_three_times_alone(ask):
    engine = Engine({"b": DeathError})
    ask(engine, unit("abc"))
    assert engine.asked == [("a", "b", "c")] * 3 + [("a",)] + [("b",)] * 3 + [("c",)]
    assert ask.calls() == {("u-1", None): 3, ("u-1", 0): 1, ("u-1", 1): 3, ("u-1", 2): 1}


def test_what_was_answered_or_given_up_alone_is_never_asked_again(ask):
    first = ask(Engine({"b": DeathError}), unit("abc"))
    again = Engine({})
    assert content(ask(again, unit("abc"))) == content(first)
    assert again.asked == []


def test_a_death_with_other_causes_leaves_no_trace_in_the_predictions(ask):
    engine = Engine({"b": DeathError})
    with pytest.raises(AssertionError, match="without end"):
        ask(engine, unit("abc"), deaths=2)
    engine.bad = {}
    assert {row["error"] for row in content(ask(engine, unit("abc")))} == {None}
    assert engine.asked == [("a", "b", "c")] * 3


def test_a_unit_that_raises_is_taken_apart_at_once(ask):
    engine = Engine({"b": RuntimeError})
    ask(engine, unit("abc"))
    assert engine.asked == [("a", "b", "c"), ("a",), ("b",), ("c",)]


@pytest.mark.parametrize("fault", [DeathError, RuntimeError])
def test_an_engine_that_has_answered_nothing_is_broken_and_its_posts_are_not(ask, fault):
    engine = Engine(dict.fromkeys("abcd", fault))
    with pytest.raises(EngineBrokenError, match="each of 3 posts that it was asked alone and has answered nothing"):
        ask(engine, unit("abcd"))
    assert ("d",) not in engine.asked


def test_tries_of_a_broken_engine_are_not_held_against_the_posts(ask):
    with pytest.raises(EngineBrokenError):
        ask(Engine(dict.fromkeys("abcd", DeathError)), unit("abcd"), place="broken")
    mended = Engine({})
    assert {row["error"] for row in content(ask(mended, unit("abcd"), place="mended"))} == {None}
    assert mended.asked == [("a", "b", "c", "d")]


def test_tries_at_another_place_count_where_its_engine_answers(ask):
    with pytest.raises(AssertionError, match="without end"):
        ask(Engine({"b": DeathError}), unit("abc"), place="one", deaths=4)
    other = Engine({"b": DeathError})
    ask(other, unit("abc"), place="two")
    assert other.asked == [("b",)] * 2 + [("c",)]


def test_a_small_unit_of_bad_posts_waits_for_an_engine_that_answers(ask):
    waiting = ask(Engine({"a": DeathError}), unit("a"))
    assert waiting == Undecided(1, "Quarantined: the engine died or hung 3 times over this post alone")
    other = unit("b")
    ask(Engine({}), PreparedUnit("u-2", 1, other.requests, {}))
    assert {row["error"] for row in content(ask(Engine({"a": DeathError}), unit("a")))} == {waiting.error}


def test_posts_that_cannot_be_asked_are_no_attempts(ask):
    engine = Engine({})
    rows = content(ask(engine, unit("ab", unanswerable="ab")))
    assert {row["error"] for row in rows} == {"PictureError: broken"}
    assert (engine.asked, ask.calls()) == ([], {})


def test_a_post_that_cannot_be_asked_keeps_its_error_beside_a_bad_one(ask):
    rows = content(ask(Engine({"b": DeathError}), unit("abc", unanswerable="a")))
    assert [row["error"] and row["error"].split(":")[0] for row in rows[::2]] == ["PictureError", "Quarantined", None]


def test_a_post_that_is_given_up_keeps_the_answers_that_an_earlier_run_holds(ask):
    found = ask(Engine({"b": DeathError}), partly_known(unit("ab"))).to_pylist()
    assert {(row["post_key"], row["task"]): row["output"] for row in found} == {
        ("a", "humor"): "known",
        ("a", "sarcasm"): "a sarcasm?",
        ("b", "humor"): "known",
        ("b", "sarcasm"): None,
    }
    assert [row["error"] is None for row in found] == [True, True, True, False]


def test_what_an_earlier_run_holds_does_not_prove_an_engine_that_answers_nothing(ask):
    asked = unit("abc")
    held = {f"a-{task}": {"output": "known", "label_scores": None, "reused_from": "earlier"} for task in TASKS}
    outcome = ask(Engine(dict.fromkeys("bc", RuntimeError)), dataclasses.replace(asked, known=held))
    assert outcome == Undecided(2, "RuntimeError: bad post")


def test_a_storage_that_fails_is_no_fault_of_a_post(tmp_path, monkeypatch):
    def fail(self):
        raise StorageError("cannot write")

    attempts = Attempts(open_storage(tmp_path), "attempts", "here")
    careful = CarefulAnswerer(UnitAnswerer("run", ANSWERER, {"d": Engine({})}), attempts)  # type: ignore[dict-item]
    monkeypatch.setattr(Attempts, "set_answering", fail)
    for tries in (0, TRIES_TOGETHER):
        for _ in range(tries):
            attempts.begin("u-1")
        with pytest.raises(StorageError):
            careful(unit(["a", "b"]))
    assert attempts.kept("u-1", 0) is None


def test_what_may_end_the_process_is_asked_once_all_else_is_durable(tmp_path):
    attempts, settled = Attempts(open_storage(tmp_path), "attempts", "here"), []
    engine = Engine({"a": DeathError})
    answer = UnitAnswerer("run", ANSWERER, {"d": engine})  # type: ignore[dict-item]
    careful = CarefulAnswerer(answer, attempts, settle=lambda: settled.append(len(engine.asked)))
    asked_before = []
    for _ in range(TRIES_TOGETHER + 1):
        with contextlib.suppress(DeathError):
            careful(unit(["a", "b"]))
        asked_before.append(len(engine.asked))
    assert settled == asked_before[:-1], "not before the first try, and before each further one"
