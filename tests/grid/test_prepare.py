import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import mmsoc_ray.grid.prepare as prepare
from mmsoc_ray.data import Post, Unit, decode_picture
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.plan import Question
from mmsoc_ray.grid.prepare import Words, prepare_unit
from mmsoc_ray.grid.wire import REQUEST_SCHEMA, PreparedUnit
from mmsoc_ray.models import ModelEntry

SEEING = Answerer(
    ModelEntry("seeing", "f", 0.1, "transformers", sees_pictures=True, max_picture_side=16),
    dtype="float32",
    model_digest="digest",
    fit={},
    seed=0,
)
BLIND = replace(SEEING, entry=replace(SEEING.entry, name="blind", sees_pictures=False))
BASELINE = Answerer(ModelEntry("majority", "baseline", 0, "baseline"), None, "", {"toy_memes": "fit"}, 0)
UNIT = Unit("toy_memes-test-00000-00000", "toy_memes", "test", "shard", 0, 10)


def question(task: str, setting: str) -> Question:
    return Question(task, setting, "toy_memes", "official", 8)


HUMOR, SARCASM = question("humor", "zero_shot"), question("sarcasm", "zero_shot")
TEXT_ONLY = question("humor", "text_only")


def no_words(unit: Unit, posts: Sequence[Post]) -> list[Words]:
    raise AssertionError("no setting of this test reads the words in pictures")


def prepared(
    posts: Sequence[Post], *questions: Question, answerer: Answerer = SEEING, unit: Unit = UNIT
) -> PreparedUnit:
    return prepare_unit(unit, posts, questions, answerer, no_words)


def by_post(unit: PreparedUnit, column: str, setting: str = "zero_shot") -> dict[str, Any]:
    return {r["sample_id"]: r[column] for r in unit.requests if r["setting"] == setting}


def test_every_question_on_every_post_is_a_request(toy):
    unit = prepared(toy.memes, HUMOR, SARCASM, TEXT_ONLY)
    asked = [(r["post"], r["task"], r["setting"]) for r in unit.requests]
    assert len(asked) == len(set(asked)) == 30
    assert unit.posts == 10


def test_a_picture_is_decoded_once_for_all_questions(toy, monkeypatch):
    decoded = []

    def counted(data: bytes, *, max_side: int) -> Any:
        decoded.append(data)
        return decode_picture(data, max_side=max_side)

    monkeypatch.setattr(prepare, "decode_picture", counted)
    prepared(toy.memes[6:], HUMOR, SARCASM, TEXT_ONLY)
    assert decoded == [post.image for post in toy.memes[6:]]


def test_pictures_are_scaled_to_the_models_bound(toy):
    unit = prepared(toy.memes[:1], HUMOR)
    assert {post: pixels.shape for post, pixels in unit.pictures.items()} == {0: (12, 16, 3)}


def test_posts_that_cannot_be_shown_fail_with_the_reason(toy):
    errors = by_post(prepared(toy.memes, HUMOR), "error")
    assert {post for post, error in errors.items() if error} == {"m2", "m3", "m4"}
    assert errors["m2"] == "PictureError: the post has no picture"
    assert errors["m3"].startswith("PictureError: broken picture") or "no picture in a known format" in errors["m3"]
    assert errors["m4"].startswith("PictureError: ")
    assert "pixels" in errors["m4"]


def test_a_question_that_needs_no_picture_is_asked_of_a_post_with_a_broken_one(toy):
    unit = prepared(toy.memes, HUMOR, TEXT_ONLY)
    assert set(by_post(unit, "error", "text_only").values()) == {None}
    assert len([error for error in by_post(unit, "error").values() if error]) == 3


@pytest.mark.parametrize("answerer", [BLIND, BASELINE], ids=["blind", "baseline"])
def test_a_model_that_sees_no_pictures_decodes_none_and_minds_none(toy, answerer):
    unit = prepared(toy.memes, HUMOR, answerer=answerer)
    assert unit.pictures == {}
    assert set(by_post(unit, "error").values()) == {None}
    assert not any(by_post(unit, "with_image").values())


def test_a_text_of_a_megabyte_gives_a_bounded_prompt(toy):
    unit = prepared([toy.memes[5]], TEXT_ONLY)
    (prompt,) = by_post(unit, "prompt", "text_only").values()
    assert len(toy.memes[5].text) == 1_000_000
    assert len(prompt) < 1000


def test_two_posts_with_the_same_content_share_the_key_and_keep_their_rows(toy):
    unit = prepared(toy.memes[:2], HUMOR)
    first, second = unit.requests
    assert first["row_key"] == second["row_key"]
    assert (first["post_key"], second["post_key"]) == ("toy_memes/test/m0", "toy_memes/test/m1")


def test_the_key_follows_prompt_picture_and_model_only(toy):
    def keys(
        posts: Sequence[Post], *questions: Question, answerer: Answerer = SEEING, unit: Unit = UNIT
    ) -> dict[str, str]:
        return by_post(prepared(posts, *questions, answerer=answerer, unit=unit), "row_key")

    plain = keys(toy.memes, HUMOR)
    other_unit = replace(UNIT, unit_id="toy_memes-test-00007-00003", shard="another", row_group=3)
    assert keys(toy.memes[::-1], HUMOR, unit=other_unit) == plain
    assert keys(toy.memes, HUMOR, TEXT_ONLY) == plain
    moved = [replace(post, sample_id=f"x{post.sample_id}", targets={"humor": ("humorous",)}) for post in toy.memes]
    assert list(keys(moved, HUMOR).values()) == list(plain.values())
    entry = SEEING.entry
    for changed in (
        replace(SEEING, model_digest="other"),
        replace(SEEING, dtype="bfloat16"),
        replace(SEEING, entry=replace(entry, max_picture_side=17)),
        replace(SEEING, entry=replace(entry, prompt_template="{image}{prompt}")),
    ):
        assert not set(keys(toy.memes, HUMOR, answerer=changed).values()) & set(plain.values())
    same = replace(SEEING, entry=replace(entry, name="renamed", batch_tokens=1))
    assert keys(toy.memes, HUMOR, answerer=same) == plain


def test_one_byte_of_a_picture_changes_the_key(toy):
    post = toy.memes[0]
    changed = replace(post, image=toy.memes[9].image)
    one, other = prepared([post, replace(changed, sample_id="m1")], HUMOR).requests
    assert one["prompt"] == other["prompt"]
    assert one["row_key"] != other["row_key"]
    assert one["image_sha256"] == hashlib.sha256(post.image).hexdigest()


def test_a_picture_that_is_not_shown_does_not_enter_the_key(toy):
    post = toy.memes[0]
    one, other = prepared([post, replace(post, sample_id="m1", image=toy.memes[9].image)], TEXT_ONLY).requests
    assert one["row_key"] == other["row_key"]
    assert one["image_sha256"] is None


def test_words_read_in_pictures_stand_in_the_prompt_of_with_ocr_only(toy):
    def read(unit: Unit, posts: Sequence[Post]) -> list[Words]:
        return [Words(f"words of {post.sample_id}") for post in posts]

    questions = (HUMOR, question("humor", "with_ocr"))
    unit = prepare_unit(UNIT, toy.memes[:1], questions, SEEING, read)
    assert "words of m0" in by_post(unit, "prompt", "with_ocr")["m0"]
    assert "words of m0" not in by_post(unit, "prompt")["m0"]


def test_a_picture_whose_words_cannot_be_read_fails_with_ocr_alone(toy):
    def read(unit: Unit, posts: Sequence[Post]) -> list[Words]:
        return [Words(None, "ValueError: no words") for _ in posts]

    unit = prepare_unit(UNIT, toy.memes[:1], (HUMOR, question("humor", "with_ocr")), SEEING, read)
    assert by_post(unit, "error", "with_ocr") == {"m0": "ValueError: no words"}
    assert by_post(unit, "error") == {"m0": None}


def test_a_unit_survives_its_way_through_ray(toy):
    unit = prepared(toy.memes, HUMOR, TEXT_ONLY)
    back = PreparedUnit.from_row(unit.to_row())
    assert (back.unit_id, back.posts) == (unit.unit_id, unit.posts)
    assert [dict(r) for r in back.requests] == [dict(r) for r in unit.requests]
    assert set(back.requests[0]) == set(REQUEST_SCHEMA.names)
    assert list(back.pictures) == list(unit.pictures) == [0, 1, 5, 6, 7, 8, 9]
    assert all(np.array_equal(back.pictures[post], pixels) for post, pixels in unit.pictures.items())


def test_labels_go_along_where_they_are_scored(toy):
    unit = prepared(toy.memes[:1], replace(HUMOR, scored=True), SARCASM)
    posts, _ = PreparedUnit.from_row(unit.to_row()).askable()
    scored, plain = posts[0].requests
    assert scored.labels == {"humorous": "humorous", "not_humorous": "not_humorous"}
    assert plain.labels is None


def test_scoring_changes_the_key(toy):
    scored, plain = prepared(toy.memes[:1], replace(HUMOR, scored=True), HUMOR).requests
    assert scored["row_key"] != plain["row_key"]
    assert scored["prompt"] == plain["prompt"]


def test_an_engine_is_asked_what_carries_no_error(toy):
    unit = prepared(toy.memes, HUMOR, TEXT_ONLY)
    posts, positions = unit.askable()
    assert [len(post.requests) for post in posts] == [2, 2, 1, 1, 1, 2, 2, 2, 2, 2]
    for post, asked in zip(posts, positions, strict=True):
        for request, position in zip(post.requests, asked, strict=True):
            row = unit.requests[position]
            assert (post.post_key, request.setting, request.task) == (row["post_key"], row["setting"], row["task"])
            assert (request.prompt, request.with_image) == (row["prompt"], row["with_image"])
    assert [post.image is None for post in posts] == [False, False, True, True, True, *[False] * 5]


def test_a_unit_in_which_nothing_can_be_asked_asks_nothing(toy):
    assert prepared([toy.memes[2]], HUMOR).askable() == ([], [])
