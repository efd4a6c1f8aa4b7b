from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.engines import Answer, PreparedPost, Request
from mmsoc_ray.engines.shared_prefix import can_share, common_prefix, split_by_prefix
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models.entry import ModelEntry

QUESTIONS = (("is this meme humorous?", 8), ("is it sarcastic or not? answer", 8), ("the text", 3), ("user?", 5))


def posts(with_image: bool) -> list[PreparedPost]:
    """Posts whose texts differ in length, each with questions behind its text; one question is asked without."""
    made = []
    for i in range(5):
        picture = np.random.default_rng(i).integers(0, 256, (40, 52, 3), dtype=np.uint8) if with_image else None
        text = f"the user of picture {i} is sarcastic " * (i + 1)
        asked = [Request("zero_shot", "humor", f"{text}\n{q}", with_image, limit) for q, limit in QUESTIONS]
        asked.append(Request("text_only", "humor", "a single question", False, 4))
        made.append(PreparedPost(str(i), picture, str(i), tuple(asked)))
    return made


def answers(engine: TransformersEngine, asked: Sequence[PreparedPost]) -> dict[tuple[int, int], Answer]:
    return {(answer.post_index, answer.request_index): answer for answer in engine.answer(asked)}


def outputs(found: dict[tuple[int, int], Answer]) -> dict[tuple[int, int], tuple[Any, ...]]:
    return {
        place: (answer.output, answer.finish_reason, answer.prompt_tokens, answer.output_tokens)
        for place, answer in found.items()
    }


@pytest.fixture(scope="module", params=[False, True], ids=["text", "llava"])
def engine(request: pytest.FixtureRequest, text_checkpoint: Path, llava_checkpoint: Path) -> TransformersEngine:
    folder = llava_checkpoint if request.param else text_checkpoint
    entry = ModelEntry("tiny", "tiny", 0, "transformers", dtype="float32", sees_pictures=request.param)
    return TransformersEngine(folder, entry, threads=1, device="cpu")


def test_a_shared_prefix_answers_like_whole_prompts(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = posts(with_image=engine._loaded.processor is not None)
    shared = answers(engine, asked)
    monkeypatch.setattr(engine._loaded, "shares_prefixes", False)
    whole = answers(engine, asked)
    assert outputs(shared) == outputs(whole)
    assert not any(answer.cached_tokens for answer in whole.values())
    # The first of a post's questions pays for the prefix, the others find it.
    assert [shared[4, i].cached_tokens > 50 for i in range(5)] == [False, True, True, True, False]


def test_small_batches_share_prefixes_too(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = posts(with_image=engine._loaded.processor is not None)
    expected = outputs(answers(engine, asked))
    monkeypatch.setattr(engine, "_entry", dataclasses.replace(engine._entry, batch_tokens=150))
    assert outputs(answers(engine, asked)) == expected


def test_a_failing_continuation_is_answered_whole(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = posts(with_image=engine._loaded.processor is not None)
    expected = outputs(answers(engine, asked))
    compute, failures = engine._decoder.compute, []

    def without_cache(inputs: Any, pictures: Any, past: Any = None) -> Any:
        if past is not None:
            failures.append(1)
            raise torch.OutOfMemoryError("out of memory")
        return compute(inputs, pictures)

    monkeypatch.setattr(engine._decoder, "compute", without_cache)
    assert outputs(answers(engine, asked)) == expected
    assert failures


def test_a_prefix_leaves_each_prompt_a_token() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([1, 2], [1, 2, 3]) == 1
    assert common_prefix([1, 2, 3], [1, 2, 3]) == 2
    assert common_prefix([1], [2]) == 0


def test_prompts_of_two_settings_fall_into_two_groups() -> None:
    text_only = [[0, 0, *range(10, 40), question] for question in (1, 2, 3)]
    with_ocr = [[0, 0, *range(60, 90), question] for question in (1, 2, 3)]
    prompts = [text_only[0], with_ocr[0], text_only[1], with_ocr[1], text_only[2], with_ocr[2]]
    assert split_by_prefix(prompts) == [([0, 2, 4], 32), ([1, 3, 5], 32)]


def test_questions_that_begin_alike_stay_with_the_others() -> None:
    shared = list(range(50))
    prompts = [[*shared, 1, 1, 1], [*shared, 1, 1, 2], [*shared, 2, 0, 0], [*shared, 3, 0, 0]]
    assert split_by_prefix(prompts) == [([0, 1, 2, 3], 50)]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=8))
def test_every_prompt_falls_into_one_group_and_begins_with_its_prefix(prompts: list[list[int]]) -> None:
    groups = split_by_prefix(prompts)
    assert sorted(place for places, _ in groups for place in places) == list(range(len(prompts)))
    for places, prefix in groups:
        assert len({tuple(prompts[place][:prefix]) for place in places}) == 1
        assert len(places) == 1 or all(len(prompts[place]) > prefix for place in places)


SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 32,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("config", "shares"),
    [
        (transformers.LlamaConfig(**SMALL), True),
        (transformers.LlamaConfig(**SMALL, rope_parameters=DYNAMIC), False),
        (transformers.MistralConfig(**SMALL, sliding_window=16), False),
        (transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=32), False),  # learned positions
        (transformers.Qwen2VLConfig(text_config=SMALL, vision_config={"depth": 1, "hidden_size": 32}), False),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_only_full_attention_with_fixed_rotary_positions_shares(config: Any, shares: bool) -> None:
    visual = config.model_type == "qwen2_vl"
    auto = transformers.AutoModelForImageTextToText if visual else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        assert can_share(auto.from_config(config)) is shares
