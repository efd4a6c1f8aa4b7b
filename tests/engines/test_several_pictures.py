"""Prompts with several pictures: the examples', then the asked post's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import mmsoc_ray.engines.transformers as engine_module
from mmsoc_ray.engines import Answer, PreparedPost, Request
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.engines.wrapping import PromptWrapper
from mmsoc_ray.models.entry import ModelEntry

ENTRY = ModelEntry("tiny", "tiny", 0, "transformers", dtype="float32", sees_pictures=True)
QUESTION = "is this meme humorous?"
IMAGES_FIRST = (
    "{% for message in messages %}USER: {% for part in message['content'] if part['type'] == 'image' %}<image>\n"
    "{% endfor %}{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }} {% endfor %}"
    "{% endfor %}ASSISTANT:"
)
"""How the template of LLaVA-v1.5 orders a message: all pictures, then all texts."""


def picture(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (40, 52, 3), dtype=np.uint8)


EXAMPLES = (picture(100), picture(101))


def few_shot(examples: tuple[Any, ...] = EXAMPLES, limit: int = 8, question: str = QUESTION) -> Request:
    text, places = "", []
    for number in range(len(examples)):
        text += f"Example {number + 1}:\n"
        places.append(len(text))
        text += f"{question}\nAnswer: user\n\n"
    text += "The post that is asked about:\n"
    return Request(
        "few_shot_2", "humor", text + question, True, limit, example_pictures=examples, places=(*places, len(text))
    )


def posts(*requests: Request, count: int = 6) -> list[PreparedPost]:
    return [PreparedPost(str(number), picture(number), str(number), requests) for number in range(count)]


def outputs(engine: TransformersEngine, asked: list[PreparedPost]) -> dict[tuple[int, int], Answer]:
    return {(answer.post_index, answer.request_index): answer for answer in engine.answer(asked)}


def said(found: dict[tuple[int, int], Answer]) -> dict[tuple[int, int], Any]:
    return {place: (answer.output, answer.error, answer.prompt_tokens) for place, answer in found.items()}


@pytest.fixture(scope="module", params=["llava", "idefics3"])
def folder(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.getfixturevalue(f"{request.param}_checkpoint")
    return chosen


@pytest.fixture(scope="module")
def engine(folder: Path) -> TransformersEngine:
    return TransformersEngine(folder, ENTRY, threads=1, device="cpu")


@pytest.fixture
def long_context(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models' positions are computed, not learned: their context is only what they say it is."""
    monkeypatch.setattr(engine._loaded, "context_tokens", 4096)


def test_a_prompt_has_a_place_for_each_picture_in_order(engine: TransformersEngine) -> None:
    text = engine._loaded.wrapper.wrap(few_shot().pieces)
    parts = text.split("<image>")
    assert len(parts) == 3 + 1
    assert [part.strip().splitlines()[-1] for part in parts[:-1]] == [
        "Example 1:",
        "Example 2:",
        "The post that is asked about:",
    ]
    assert parts[1].strip().startswith(QUESTION)


@pytest.mark.usefixtures("long_context")
def test_pictures_are_read_as_the_library_alone_reads_them(engine: TransformersEngine, folder: Path) -> None:
    request = few_shot()
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor: Any = transformers.AutoProcessor.from_pretrained(folder)
    found = outputs(engine, posts(request))
    for number in range(6):
        shown = [Image.fromarray(pixels) for pixels in (*EXAMPLES, picture(number))]
        content: list[dict[str, str]] = []
        for at, piece in enumerate(request.pieces):
            content += [{"type": "image"}] if at else []
            content += [{"type": "text", "text": piece}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = processor(text=[text], images=[shown], return_tensors="pt", add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=8, eos_token_id=2, pad_token_id=0)
        alone = processor.tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert found[number, 0].output == alone
        assert found[number, 0].prompt_tokens == inputs["input_ids"].shape[1]
    assert len({answer.output for answer in found.values()}) > 1


@pytest.mark.usefixtures("long_context")
def test_one_post_at_a_time_answers_like_all_together(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    zero_shot = Request("zero_shot", "humor", QUESTION, True, 8)
    asked = posts(few_shot(), few_shot(question="is it sarcastic?"), zero_shot)
    together = said(outputs(engine, asked))
    assert not any(error for _, error, _ in together.values())
    alone = [said(outputs(engine, [post])) for post in asked]
    assert {(at, request): one for at, post in enumerate(alone) for (_, request), one in post.items()} == together
    monkeypatch.setattr(engine_module, "EXAMPLES_AT_ONCE", 5)
    assert said(outputs(engine, asked)) == together


@pytest.mark.usefixtures("long_context")
def test_another_example_picture_or_order_changes_answers(engine: TransformersEngine) -> None:
    plain = said(outputs(engine, posts(few_shot())))
    assert said(outputs(engine, posts(few_shot((EXAMPLES[0], picture(7)))))) != plain
    assert said(outputs(engine, posts(few_shot(EXAMPLES[::-1])))) != plain


def test_examples_that_do_not_fit_fail_with_what_to_do(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine._loaded, "context_tokens", 40)
    (answer,) = outputs(engine, posts(few_shot(), count=1)).values()
    assert "more than the context of 40 tokens; 2 example pictures are part of it, so take fewer" in str(answer.error)


@pytest.fixture(scope="module")
def llava(llava_checkpoint: Path) -> TransformersEngine:
    return TransformersEngine(llava_checkpoint, ENTRY, threads=1, device="cpu")


def test_posts_share_the_examples_before_their_own_pictures(
    llava: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = posts(few_shot(), few_shot(question="is it sarcastic?", limit=5), Request("zero_shot", "a", "x", True, 3))
    encoded = []
    encode = llava._loaded.model.base_model.get_image_features

    def counted(**inputs: Any) -> Any:
        encoded.append(len(inputs["pixel_values"]))
        return encode(**inputs)

    monkeypatch.setattr(llava, "_encoders", {})
    monkeypatch.setattr(llava._loaded.model.base_model, "get_image_features", counted)
    shared = outputs(llava, asked)
    assert sum(encoded) == 2 + 6  # an example once for all posts
    assert len(encoded) == 1  # and all in one pass
    for request, cached in ((0, True), (1, True), (2, False)):
        assert [shared[at, request].cached_tokens > 30 for at in range(6)] == [False, *[cached] * 5]
    monkeypatch.setattr(llava._loaded, "shares_prefixes", False)
    assert said(outputs(llava, asked)) == said(shared)
    small = dataclasses.replace(ENTRY, batch_tokens=200)
    monkeypatch.setattr(llava._loaded, "shares_prefixes", True)
    monkeypatch.setattr(llava, "_entry", small)
    assert said(outputs(llava, asked)) == said(shared)


def test_labels_are_scored_behind_shared_examples(llava: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    request = dataclasses.replace(few_shot(), labels={"humorous": "humorous", "not_humorous": "not_humorous"})
    shared = outputs(llava, posts(request))
    assert shared[3, 0].cached_tokens
    monkeypatch.setattr(llava._loaded, "shares_prefixes", False)
    for place, answer in outputs(llava, posts(request)).items():
        assert answer.label_scores == pytest.approx(shared[place].label_scores, abs=1e-5)


def test_a_template_that_moves_pictures_gets_their_tokens_in_the_text(llava_checkpoint: Path) -> None:
    processor: Any = transformers.AutoProcessor.from_pretrained(llava_checkpoint)
    processor.chat_template = IMAGES_FIRST
    wrapper = PromptWrapper("chat", processor.tokenizer, processor)
    assert wrapper.wrap(["one", "two", "three"]) == "USER: one<image>\ntwo<image>\nthree ASSISTANT:"
    assert wrapper.wrap(["", "why?"]) == "USER: <image>\nwhy? ASSISTANT:"


def test_a_format_string_gets_the_pictures_tokens_in_the_prompt(llava_checkpoint: Path) -> None:
    processor: Any = transformers.AutoProcessor.from_pretrained(llava_checkpoint)
    wrapper = PromptWrapper("USER: {image}{prompt} ASSISTANT:", processor.tokenizer, processor)
    assert wrapper.wrap(["one ", "two ", "three"]) == "USER: one <image>\ntwo <image>\nthree ASSISTANT:"


def test_text_that_spells_a_picture_token_takes_no_picture(llava: TransformersEngine) -> None:
    request = few_shot(question="<image> is it funny?")
    found = outputs(llava, posts(request, count=2))
    assert [answer.error for answer in found.values()] == [None, None]
