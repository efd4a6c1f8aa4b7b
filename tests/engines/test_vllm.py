"""vLLM for real, on CPUs: tiny checkpoints of two vision architectures and a real language model."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsoc_ray.engines import open_engine
from mmsoc_ray.engines.protocol import PROMPT_ERROR, Answer, Engine, PreparedPost, Request
from mmsoc_ray.engines.vllm import VllmEngine
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import get_model, resolve_checkpoint
from mmsoc_ray.models.entry import Decoding, ModelEntry

LABELS = {"humorous": "humorous", "not_humorous": "not humorous", "sarcastic": "sarcastic"}
QUESTIONS = ("is this meme humorous", "is this sarcastic or not", "describe the picture for the user")
POSTS = 6


def entry_of(name: str, *, sees_pictures: bool) -> ModelEntry:
    return ModelEntry(
        name=name, family=name, parameters_b=0, engine="vllm", sees_pictures=sees_pictures, dtype="float32"
    )


def posts_of(*, with_image: bool) -> list[PreparedPost]:
    """Posts with pictures of different shapes; of each, several questions behind the same words and one that scores."""
    pixels = np.random.default_rng(7)

    def requests(post: int) -> tuple[Request, ...]:
        text = f"A post, number {post}, that says <image> and more of it than one block of the cache can hold. "
        return tuple(
            Request(
                "zero_shot",
                f"t{place}",
                text * 2 + question,
                with_image,
                6 - place,
                labels=LABELS if not place else None,
            )
            for place, question in enumerate(QUESTIONS)
        )

    return [
        PreparedPost(
            post_key=f"p{post}",
            image=pixels.integers(0, 256, (40 + 9 * post, 70, 3), np.uint8) if with_image else None,
            image_sha256=None,
            requests=requests(post),
        )
        for post in range(POSTS)
    ]


def answers_of(engine: Engine, posts: list[PreparedPost]) -> list[Answer]:
    return sorted(engine.answer(posts), key=lambda answer: (answer.post_index, answer.request_index))


def said(answers: list[Answer]) -> list[str | None]:
    return [answer.output for answer in answers]


@dataclasses.dataclass
class Pair:
    """The engine and the one that it is held to, on one checkpoint in float32."""

    vllm: VllmEngine
    posts: list[PreparedPost]
    reference: list[Answer]

    @classmethod
    def open(cls, checkpoint: Path, entry: ModelEntry) -> Pair:
        posts = posts_of(with_image=entry.sees_pictures)
        one_by_one = dataclasses.replace(entry, engine="transformers", batch_tokens=1)
        reference = answers_of(open_engine(one_by_one, checkpoint, threads=1), posts)
        engine = open_engine(entry, checkpoint, threads=1)
        assert isinstance(engine, VllmEngine)
        return cls(engine, posts, reference)


@pytest.fixture(scope="module", params=["idefics3", "llava", "smollm2"])
def pair(request: pytest.FixtureRequest, vllm_checkpoint: Callable[[str], Path]) -> Iterator[Pair]:
    if request.param == "smollm2":
        entry = dataclasses.replace(get_model("smollm2-135m"), engine="vllm", dtype="float32")
        opened = Pair.open(resolve_checkpoint(entry), entry)
    else:
        opened = Pair.open(vllm_checkpoint(request.param), entry_of(request.param, sees_pictures=True))
    yield opened
    opened.vllm.close()


def test_answers_are_those_of_transformers_one_by_one(pair: Pair) -> None:
    answered = answers_of(pair.vllm, pair.posts)

    for one, other in zip(answered, pair.reference, strict=True):
        assert one.error is None
        assert (one.output, one.finish_reason, one.prompt_tokens) == (
            other.output,
            other.finish_reason,
            other.prompt_tokens,
        )
        assert one.output_tokens == other.output_tokens


def test_label_scores_are_those_of_transformers(pair: Pair) -> None:
    answered = answers_of(pair.vllm, pair.posts)

    scored = 0
    for one, other in zip(answered, pair.reference, strict=True):
        assert (one.label_scores is None) == (other.label_scores is None)
        if one.label_scores and other.label_scores:
            assert one.label_scores == pytest.approx(other.label_scores, abs=1e-4)
            scored += 1
    assert scored == POSTS


def test_the_tasks_of_a_post_share_its_prefix(pair: Pair) -> None:
    answered = answers_of(pair.vllm, pair.posts)

    assert all(answer.cached_tokens > 0 for answer in answered if answer.request_index > 0)


def test_several_threads_ask_at_once(pair: Pair) -> None:
    posts = pair.posts[:3]
    alone = answers_of(pair.vllm, posts)
    found: dict[int, list[Answer]] = {}

    def ask(number: int) -> None:
        found[number] = answers_of(pair.vllm, posts)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 3
    for answered in found.values():
        assert [answer.output for answer in answered] == [answer.output for answer in alone]


def test_a_bad_post_costs_its_neighbours_nothing(pair: Pair) -> None:
    good = pair.posts[0]
    ask = good.requests[0]
    long = dataclasses.replace(ask, prompt="word " * 9000)
    without_picture = dataclasses.replace(good, image=None, requests=(dataclasses.replace(ask, with_image=True),))

    answered = answers_of(pair.vllm, [dataclasses.replace(good, requests=(long,)), without_picture, good])

    assert answered[0].error is not None
    assert answered[0].error.startswith(PROMPT_ERROR)
    assert answered[1].error is not None
    assert [answer.error for answer in answered[2:]] == [None] * len(good.requests)


def test_an_answer_for_which_the_context_has_no_room_is_refused_and_not_cut(pair: Pair) -> None:
    post = pair.posts[0]
    whole = dataclasses.replace(post.requests[1], max_new_tokens=10**5)

    (answer,) = answers_of(pair.vllm, [dataclasses.replace(post, requests=(whole,))])

    assert answer.error is not None
    assert "more than the context of" in answer.error


def sampled(engine: VllmEngine, posts: list[PreparedPost], monkeypatch: pytest.MonkeyPatch, **how: Any) -> list[Answer]:
    """Let an engine that is open sample."""
    monkeypatch.setattr(engine, "_decoding", Decoding(**how))
    answered = answers_of(engine, posts)
    assert not [answer.error for answer in answered if answer.error]
    return answered


def test_sampled_answers_repeat_themselves_beside_other_requests(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"temperature": 1.0, "top_p": 0.95, "seed": 3}
    first, again = (said(sampled(pair.vllm, pair.posts, monkeypatch, **how)) for _ in range(2))
    alone = [said(sampled(pair.vllm, [post], monkeypatch, **how)) for post in pair.posts]

    assert first == again == [output for of_post in alone for output in of_post]
    assert first != said(sampled(pair.vllm, pair.posts, monkeypatch, **{**how, "seed": 4}))
    assert first != said(pair.reference)


def test_sampling_with_nothing_left_to_chance_is_greedy_and_never_changes_a_score(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    certain = sampled(pair.vllm, pair.posts, monkeypatch, temperature=2.0, top_k=1)

    assert said(certain) == said(pair.reference)
    for one, other in zip(certain, pair.reference, strict=True):
        assert one.label_scores == (other.label_scores and pytest.approx(other.label_scores, abs=1e-4))


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        (Decoding(num_beams=4), "the engine vllm decodes greedily or samples.*'num_beams': 4"),
        (Decoding(temperature=0.7, min_length=2), "the engine vllm decodes greedily or samples.*'min_length': 2"),
        (Decoding(temperature=0.001), "the engine vllm has no temperature 0.001; set 0 .greedy. or at least 0.01"),
        (Decoding(temperature=0.7), "the engine vllm samples on GPUs only"),
    ],
)
def test_a_decoding_that_vllm_lacks_is_refused_before_anything_is_loaded(
    tmp_path: Path, decoding: Decoding, message: str
) -> None:
    entry = dataclasses.replace(entry_of("m", sees_pictures=False), decoding=decoding)

    with pytest.raises(ConfigurationError, match=f"model 'm': {message}"):
        open_engine(entry, tmp_path)
