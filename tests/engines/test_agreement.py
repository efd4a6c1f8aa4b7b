from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from mmsoc_ray.engines import Answer, PreparedPost, Request
from mmsoc_ray.engines.agreement import beyond_rounding, compare
from mmsoc_ray.engines.reference import TransformersReference
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models.entry import ModelEntry

ENTRY = ModelEntry("tiny", "tiny", 0, "transformers", dtype="float32", sees_pictures=True)
FRAME = "A picture and what was written about it are shown. Look at both, then answer the question in one word. "
QUESTIONS = ("is it humorous?", "is it sarcastic?", "what is the text in the picture of this meme", "is it offensive?")


class ByCharacter:
    """A reference whose tokens are characters, for which the one that stands first in a list is likeliest."""

    def __init__(self, gap: float) -> None:
        self.gap = gap
        self.asked: list[tuple[list[int], list[int]]] = []

    def tokens(self, answer: Answer) -> Sequence[int]:
        return [ord(character) for character in answer.output or ""]

    def spell(self, token: int) -> str:
        return chr(token)

    def margin(self, post: PreparedPost, request: Request, said: Sequence[int], candidates: Sequence[int]) -> float:
        self.asked.append((list(said), list(candidates)))
        return self.gap


def posts(count: int = 1) -> list[PreparedPost]:
    """Posts of two requests each."""
    requests = tuple(Request("zero_shot", task, task, False, 8) for task in ("humor", "sarcasm"))
    return [PreparedPost(f"p{number}", None, None, requests) for number in range(count)]


def answered(*outputs: str | None) -> list[Answer]:
    """Answers to posts of two requests each; None is an error."""
    return [
        Answer(place // 2, place % 2, output, error=None if output is not None else "ValueError: broken")
        for place, output in enumerate(outputs)
    ]


def test_equal_answers_do_not_disagree_in_whatever_order() -> None:
    assert compare(posts(), answered("yes", "no"), answered("yes", "no")[::-1]) == []


def test_the_first_diverging_token_is_found_with_both_candidates() -> None:
    reference = ByCharacter(gap=0.5)
    (found,) = compare(posts(), answered("yes", "stop"), answered("yes", "step"), reference)
    assert (found.task, found.position, found.candidates, found.margin) == ("sarcasm", 2, ("o", "e"), 0.5)
    assert reference.asked == [([ord("s"), ord("t")], [ord("o"), ord("e")])]


def test_tokens_tell_answers_of_equal_text_apart() -> None:
    one, other = answered("yes", "no"), answered("yes", "no")
    one[0], other[0] = (dataclasses.replace(one[0], token_ids=ids) for ids in ((5, 6), (7,)))
    assert [found.task for found in compare(posts(), one, other)] == ["humor"]


@pytest.mark.parametrize(("gap", "explained"), [(1e-3, True), (1.1e-3, False)])
def test_rounding_explains_a_close_choice_only(gap: float, explained: bool) -> None:
    found = compare(posts(), answered("a", "x"), answered("b", "x"), ByCharacter(gap))
    assert (beyond_rounding(found) == []) is explained


@pytest.mark.parametrize(
    ("one", "other", "note"),
    [("yes", None, "ValueError: broken"), ("yes", "yes it", "one answer is the beginning of the other")],
)
def test_what_no_margin_explains_is_beyond_rounding(one: str, other: str | None, note: str) -> None:
    (found,) = beyond_rounding(compare(posts(), answered(one, "x"), answered(other, "x"), ByCharacter(0.0)))
    assert note in str(found)


def test_without_a_reference_the_reason_is_told() -> None:
    (found,) = compare(posts(), answered("a", "x"), answered("b", "x"), no_reference="the checkpoint is not at hand")
    assert found.margin is None
    assert "the checkpoint is not at hand" in str(found)


@pytest.mark.parametrize("answers", [("a",), ("a", "b", "c")])
def test_a_request_left_out_or_answered_twice_is_refused(answers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="2 requests have"):
        compare(posts(), answered("a", "b"), answered(*answers))


Variant = Callable[[Path, ModelEntry], TransformersEngine]


def engine(checkpoint: Path, entry: ModelEntry = ENTRY) -> TransformersEngine:
    return TransformersEngine(checkpoint, entry, threads=1, device="cpu")


def whole_prompts(checkpoint: Path, entry: ModelEntry) -> TransformersEngine:
    made = engine(checkpoint, entry)
    made._loaded.shares_prefixes = False
    return made


def one_prompt_at_a_time(checkpoint: Path, entry: ModelEntry) -> TransformersEngine:
    return whole_prompts(checkpoint, dataclasses.replace(entry, batch_tokens=1))


def asked(see: bool) -> list[PreparedPost]:
    """Posts of unequal texts and pictures, with four questions each behind what they have in common."""
    generator = np.random.default_rng(7)
    shapes = [(40, 52), (40, 30), (64, 40), (30, 90)]
    return [
        PreparedPost(
            f"p{number}",
            generator.integers(0, 256, (*shape, 3), dtype=np.uint8) if see else None,
            None,
            tuple(Request("zero_shot", q, FRAME + "word " * number + q, see, 12) for q in QUESTIONS),
        )
        for number, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize("other", [engine, whole_prompts])
@pytest.mark.parametrize("architecture", ["text", "llava", "idefics3"])
def test_batches_and_shared_prefixes_say_what_one_prompt_at_a_time_says(
    architecture: str, other: Variant, request: pytest.FixtureRequest
) -> None:
    checkpoint = request.getfixturevalue(f"{architecture}_checkpoint")
    entry = dataclasses.replace(ENTRY, sees_pictures=architecture != "text")
    given = asked(entry.sees_pictures)
    answers = (made(checkpoint, entry).answer(given) for made in (one_prompt_at_a_time, other))
    found = beyond_rounding(compare(given, *answers, TransformersReference(checkpoint, entry)))
    assert not found, "\n".join(map(str, found))


def test_the_reference_finds_the_generated_token_likeliest(llava_checkpoint: Path) -> None:
    (post, *_) = given = asked(see=True)
    reference = TransformersReference(llava_checkpoint, ENTRY)
    for answer in engine(llava_checkpoint).answer(given[:1]):
        tokens = answer.token_ids
        request = post.requests[answer.request_index]
        likeliest = [int(reference.log_probabilities(post, request, tokens[:place]).argmax()) for place in (0, 1, 5)]
        assert likeliest == [tokens[0], tokens[1], tokens[5]]
        assert reference.margin(post, request, tokens[:1], [tokens[1]]) == 0
        assert reference.margin(post, request, tokens[:1], [tokens[1], tokens[1] + 1]) > 0


def test_a_text_is_read_back_as_the_tokens_that_it_was(llava_checkpoint: Path) -> None:
    reference = TransformersReference(llava_checkpoint, ENTRY)
    (end,) = reference.tokens(Answer(0, 0, ""))
    assert reference.spell(end) == "<|im_end|>"
    words = reference.tokens(Answer(0, 0, "this picture", finish_reason="length"))
    assert "".join(map(reference.spell, words)) == "this picture"
