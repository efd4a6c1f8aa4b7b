"""Sampling in the transformers engine: in its own decoder, and through the library's ``generate``."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from mmsoc_ray.engines import Answer, Picture, PreparedPost, Request
from mmsoc_ray.engines.decoder import Decoder, Prompts
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models.entry import Decoding, ModelEntry

TEXT = ModelEntry("tiny-text", "tiny", 0, "transformers", dtype="float32")
LLAVA = ModelEntry("tiny-llava", "tiny", 0, "transformers", dtype="float32", sees_pictures=True)
SAMPLED = Decoding(temperature=1.0, top_p=0.95, seed=3)
PATHS = {"decoder": SAMPLED, "generate": dataclasses.replace(SAMPLED, repetition_penalty=1.2, min_length=2)}
PROMPTS = ("is this meme humorous?", "sarcastic or not? answer", "the", "what is the text in the picture of this meme")
LABELS = {"yes": "humorous", "no": "not_humorous"}

Outputs = dict[tuple[int, int], str | None]


def picture(seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (40, 52, 3), dtype=np.uint8)


def posts(limit: int = 12, labels: dict[str, str] | None = None) -> list[PreparedPost]:
    requests = tuple(
        Request("s", "t", prompt, shown, limit, labels=labels) for prompt in PROMPTS for shown in (True, False)
    )
    return [PreparedPost(str(at), picture(at), str(at), requests) for at in range(3)]


def text_posts(count: int) -> list[PreparedPost]:
    return [PreparedPost(str(at), None, None, (Request("s", "t", f"{at}?", False, 20),)) for at in range(count)]


def opened(checkpoint: Path, decoding: Decoding, entry: ModelEntry = LLAVA, **fields: Any) -> TransformersEngine:
    entry = dataclasses.replace(entry, decoding=decoding, **fields)
    return TransformersEngine(checkpoint, entry, threads=1, device="cpu")


def answers(engine: TransformersEngine, asked: Sequence[PreparedPost]) -> dict[tuple[int, int], Answer]:
    found = {(answer.post_index, answer.request_index): answer for answer in engine.answer(asked)}
    assert not [answer.error for answer in found.values() if answer.error]
    return found


def outputs(engine: TransformersEngine, asked: Sequence[PreparedPost]) -> Outputs:
    return {place: answer.output for place, answer in answers(engine, asked).items()}


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_is_the_same_alone_in_a_batch_and_in_another_order(llava_checkpoint: Path, path: str) -> None:
    together = opened(llava_checkpoint, PATHS[path], batch_tokens=10**6)
    assert together._loaded.shares_prefixes == (path == "decoder")
    found = outputs(together, posts())
    assert outputs(opened(llava_checkpoint, PATHS[path], batch_tokens=1), posts()) == found
    assert outputs(together, posts()) == found
    backwards = outputs(together, posts()[::-1])
    assert {(2 - post, request): output for (post, request), output in backwards.items()} == found
    without_picture = {output for (_, request), output in found.items() if request % 2}
    assert len(without_picture) == len(PROMPTS)  # the same question without a picture, the same answer to every post
    assert len(set(found.values())) > 12


@pytest.mark.parametrize("path", PATHS)
def test_another_seed_gives_other_answers(llava_checkpoint: Path, path: str) -> None:
    other = dataclasses.replace(PATHS[path], seed=4)
    one, two = (outputs(opened(llava_checkpoint, how), posts()) for how in (PATHS[path], other))
    assert sum(one[place] != two[place] for place in one) > 20


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("certain", [{"top_k": 1}, {"temperature": 1e-4}, {"top_p": 1e-6}])
def test_where_nothing_is_left_to_chance_answers_are_the_greedy_ones(
    llava_checkpoint: Path, path: str, certain: dict[str, Any]
) -> None:
    engine = opened(llava_checkpoint, dataclasses.replace(PATHS[path], **certain))
    assert outputs(engine, posts()) == outputs(opened(llava_checkpoint, PATHS[path].unsampled), posts())


@pytest.mark.parametrize("path", PATHS)
def test_sampling_changes_no_label_score_and_scoring_no_sampled_answer(llava_checkpoint: Path, path: str) -> None:
    sampled = answers(opened(llava_checkpoint, PATHS[path]), posts(labels=LABELS))
    greedy = answers(opened(llava_checkpoint, PATHS[path].unsampled), posts(labels=LABELS))
    for place, answer in sampled.items():
        assert answer.label_scores == pytest.approx(greedy[place].label_scores, abs=1e-6)
    unscored = outputs(opened(llava_checkpoint, PATHS[path]), posts())
    assert {place: answer.output for place, answer in sampled.items()} == unscored


@pytest.mark.parametrize("path", PATHS)
def test_a_longer_limit_goes_on_with_the_same_answer(llava_checkpoint: Path, path: str) -> None:
    engine = opened(llava_checkpoint, PATHS[path])
    short, long = answers(engine, posts(4)), answers(engine, posts(12))
    assert all(long[place].token_ids[:4] == answer.token_ids for place, answer in short.items())


def test_a_row_that_fails_in_a_batch_says_the_same_when_it_is_asked_again(
    text_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = opened(text_checkpoint, SAMPLED, TEXT)
    asked = text_posts(6)
    expected, forward, failures = outputs(engine, asked), engine._loaded.model.forward, []

    def small_machine(**inputs: Any) -> Any:
        if inputs["input_ids"].shape[0] > 2:
            failures.append(1)
            raise torch.OutOfMemoryError("out of memory")
        return forward(**inputs)

    monkeypatch.setattr(engine._loaded.model, "forward", small_machine)
    assert outputs(engine, asked) == expected
    assert failures


def test_a_penalty_keeps_sampled_answers_from_repeating_themselves(text_checkpoint: Path) -> None:
    asked = text_posts(20)
    hot = Decoding(temperature=2.0, repetition_penalty=10.0)
    found = answers(opened(text_checkpoint, hot, TEXT), asked)
    free = answers(opened(text_checkpoint, dataclasses.replace(hot, repetition_penalty=1.0), TEXT), asked)
    repeated, freely = (
        sum(len(answer.token_ids) - len(set(answer.token_ids)) for answer in some.values()) for some in (found, free)
    )
    assert repeated < freely / 2


def test_a_sampled_answer_is_not_shorter_than_the_least_length(text_checkpoint: Path) -> None:
    engine = opened(text_checkpoint, Decoding(temperature=2.0, min_length=25), TEXT)
    engine._loaded.end_token_ids = frozenset(range(0, 400, 2))  # half of all tokens would end an answer
    found = answers(engine, text_posts(20)).values()
    lengths = {answer.prompt_tokens + len(answer.token_ids) for answer in found}
    assert min(lengths) == 25
    assert len(lengths) > 3


@torch.inference_mode()
def test_first_tokens_over_many_seeds_are_distributed_as_the_model_says(text_checkpoint: Path) -> None:
    draws, how = 4000, Decoding(temperature=1.5, top_p=0.9)
    engine = opened(text_checkpoint, how, TEXT)
    prompt = engine._loaded.tokenizer("is it humorous?", return_tensors="pt")
    inputs = {name: prompt[name] for name in ("input_ids", "attention_mask")}
    computed = engine._decoder.compute(inputs, {})
    ordered = (computed.logits[0].double() / how.temperature).softmax(dim=-1).sort(descending=True)
    kept = int((ordered.values.cumsum(0) - ordered.values < how.top_p).sum())
    expected = ordered.values[:kept] / ordered.values[:kept].sum() * draws
    often = int((expected >= 20).sum())  # rarer ones are counted together
    assert 5 < often < kept < len(ordered.values)

    def check(tokens: Sequence[int]) -> None:
        counts = Counter(tokens)
        seen = [counts[token] for token in ordered.indices[:kept].tolist()]
        assert sum(seen) == draws  # none of what top_p leaves out
        both = [[*some[:often], sum(some[often:])] for some in (seen, expected.tolist())]
        assert scipy.stats.chisquare(*both).pvalue > 0.001

    rows = {**computed.inputs, "attention_mask": inputs["attention_mask"].expand(draws, -1)}
    prompts = Prompts(rows, computed.logits.expand(draws, -1))
    decoder = Decoder(engine._loaded.model, frozenset(), how)
    own = [answer[0] for answer in decoder.answer(prompts, [1] * draws, range(draws))]
    check(own)
    options = engine._loaded.decoding_options(how, 1, inputs["input_ids"].shape[1], range(draws))
    repeated = {name: tensor.expand(draws, -1) for name, tensor in inputs.items()}
    by_library = engine._loaded.model.generate(**repeated, **options)[:, -1].tolist()
    assert by_library == own  # the same draws on both ways


def test_an_architecture_that_is_given_pixels_repeats_its_draws_in_any_batch(idefics3_checkpoint: Path) -> None:
    shapes = [dataclasses.replace(post, image=picture(at)[:, : 30 + 10 * at]) for at, post in enumerate(posts())]
    together = outputs(opened(idefics3_checkpoint, SAMPLED, batch_tokens=10**6), shapes)
    assert outputs(opened(idefics3_checkpoint, SAMPLED, batch_tokens=1), shapes) == together
