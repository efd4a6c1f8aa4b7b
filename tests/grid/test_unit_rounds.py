"""Self-improvement on its way through a unit, and through a whole run."""

import dataclasses
import json
from collections.abc import Iterator, Sequence

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data import Unit
from mmsoc_ray.engines import Answer, PreparedPost
from mmsoc_ray.grid.answer import UnitAnswerer
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.keys import row_key
from mmsoc_ray.grid.plan import Question
from mmsoc_ray.grid.prepare import prepare_unit
from mmsoc_ray.models import ModelEntry
from mmsoc_ray.tasks import get_task, improve_prompt

ANSWERER = Answerer(ModelEntry("m", "f", 0.1, "transformers", sees_pictures=True), "float32", "digest", {}, 0)
QUESTIONS = tuple(Question("humor", setting, "toy_memes", "official", 8) for setting in ("self_improve_2", "zero_shot"))


class Counting:
    """An engine that says which round it answers, and fails on chosen ones."""

    name = "counting"
    version = "1"

    def __init__(self, fails: int | None = None) -> None:
        self.calls: list[list[PreparedPost]] = []
        self._fails = fails

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        self.calls.append(list(posts))
        for at, post in enumerate(posts):
            for number, request in enumerate(post.requests):
                if request.round == self._fails:
                    yield Answer(at, number, None, error="ValueError: too long", finish_reason="error")
                else:
                    yield Answer(at, number, f"said in round {request.round}")


def answered(toy, engine: Counting) -> list[dict[str, object]]:
    unit = prepare_unit(Unit("u", "toy_memes", "test", "s", 0, 10), toy.memes, QUESTIONS, ANSWERER, lambda u, p: [])
    rows: list[dict[str, object]] = UnitAnswerer("run", ANSWERER, {"toy_memes": engine})(unit).to_pylist()
    return rows


def test_every_round_is_a_row_and_gives_the_last_answer_back(toy):
    rows = {(r["post_key"], r["setting"], r["round"]): r for r in answered(toy, Counting())}
    assert len(rows) == 40
    question = get_task("humor").prompt
    for (post, setting, number), row in rows.items():
        first = rows[post, setting, 0]["prompt"]
        said = "" if row["error"] else f"said in round {number - 1}"
        assert row["prompt"] == (first if number == 0 else improve_prompt(first, question, said))


def test_round_0_is_the_zero_shot_answer_with_its_key_and_later_rounds_have_keys_of_their_own(toy):
    rows = {(r["post_key"], r["setting"], r["round"]): r for r in answered(toy, Counting())}
    for (post, setting, number), row in rows.items():
        if setting == "self_improve_2" and row["error"] is None:
            assert (row["row_key"] == rows[post, "zero_shot", 0]["row_key"]) == (number == 0)
            assert row["row_key"] == row_key(
                ANSWERER.content("toy_memes"),
                task="humor",
                prompt=row["prompt"],
                image_sha256=row["image_sha256"],
                max_new_tokens=8,
            )


def test_pictures_go_with_every_round_and_settings_of_one_round_are_not_asked_again(toy):
    engine = Counting()
    answered(toy, engine)
    assert len(engine.calls) == 3
    for number, posts in enumerate(engine.calls):
        assert all(post.image is not None for post in posts)
        asked = {(request.setting, request.round) for post in posts for request in post.requests}
        assert asked == {("self_improve_2", number)}, "zero_shot asks what round 0 asks"


class Repeating(Counting):
    """An engine that says the same in every round."""

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        for answer in super().answer(posts):
            yield dataclasses.replace(answer, output="the same")


def test_a_round_that_asks_what_an_earlier_one_asked_is_answered_by_it(toy):
    engine = Repeating()
    rows = [row for row in answered(toy, engine) if row["setting"] == "self_improve_2" and row["error"] is None]
    assert len(engine.calls) == 2, "round 2 shows the answer that round 1 showed"
    assert {row["output"] for row in rows} == {"the same"}
    assert {row["round"] for row in rows} == {0, 1, 2}


def test_a_post_that_cannot_be_asked_fails_in_every_round_and_is_never_asked(toy):
    rows = [r for r in answered(toy, Counting()) if r["sample_id"] == "m2" and r["setting"] == "self_improve_2"]
    assert [r["round"] for r in rows] == [0, 1, 2]
    assert {r["error"] for r in rows} == {"PictureError: the post has no picture"}


@pytest.mark.parametrize("fails", [0, 1])
def test_the_rounds_after_a_failed_one_fail_with_its_error(toy, fails):
    engine = Counting(fails)
    rows = [r for r in answered(toy, engine) if r["sample_id"] == "m0" and r["setting"] == "self_improve_2"]
    assert [r["error"] is None for r in rows] == [number < fails for number in range(3)]
    assert {r["error"] for r in rows[fails:]} == {"ValueError: too long"}
    assert len(engine.calls) == fails + 1


def test_a_self_improve_run_scores_every_round_and_its_drift(toy, ray_session, mmsoc, capsys, tmp_path):
    models = f"  tiny: {{checkpoint: {toy.checkpoint}, settings: [zero_shot, self_improve_2], dtype: float32}}"
    command = ("run", toy.grid(tmp_path / "grid.yaml", models=models), "--output", tmp_path / "out", "--run-id", "r-1")
    assert mmsoc("plan", command[1], "--json") == 0
    assert json.loads(capsys.readouterr().out)["requests"] == {"tiny": 4 * 25}
    assert mmsoc(*command) == 0
    shown = capsys.readouterr().out
    assert "drift@round_<r>" in shown
    (folder,) = tmp_path.glob("out/runs/r-1/model=tiny/config=*/predictions")
    rows = pq.read_table(folder).to_pylist()
    assert len(rows) == 4 * 25
    results = pq.read_table(tmp_path / "out/results").to_pylist()
    values = {(r["setting"], r["task"], r["metric"]): r for r in results}
    for task in ("humor", "sarcasm", "misinformation"):
        improved = {
            metric: row["value"] for (s, t, metric), row in values.items() if (s, t) == ("self_improve_2", task)
        }
        for metric in ("accuracy", "macro_f1", "success_rate"):
            assert improved[metric] == improved[f"{metric}@round_2"]
            assert improved[f"{metric}@round_0"] == values["zero_shot", task, metric]["value"]
        fall = improved["accuracy@round_0"] - improved["accuracy@round_1"]
        assert improved["drift@round_1"] == pytest.approx(fall, abs=1e-12)
        assert "drift@round_0" not in improved
        assert values["self_improve_2", task, "accuracy"]["n"] == values["zero_shot", task, "accuracy"]["n"]
    capsys.readouterr()
    assert mmsoc(*command) == 0
    assert "Nothing was left to do" in capsys.readouterr().out
