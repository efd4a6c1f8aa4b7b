from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from mmsoc_ray.engines import Picture, PreparedPost, Request
from mmsoc_ray.engines.encoded import EncodedRequest, stack
from mmsoc_ray.engines.label_scores import LabelScorer
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models.entry import ModelEntry

TEXT = ModelEntry("tiny-text", "tiny", 0, "transformers", dtype="float32")
LLAVA = ModelEntry("tiny-llava", "tiny", 0, "transformers", dtype="float32", sees_pictures=True)
HUMOR = {"humorous": "humorous", "not_humorous": "not_humorous"}
SENTIMENT = {"positive": "positive", "neutral": "neutral", "negative": "negative"}
QUESTIONS: tuple[tuple[str, Mapping[str, str] | None], ...] = (
    ("is this meme humorous?", HUMOR),
    ("what is the sentiment", SENTIMENT),
    ("the", None),
    ("is it sarcastic or not? answer in one word", {"yes": "yes", "no": "no"}),
)
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
}
NAMES = ("input_ids", "attention_mask")
Scores = dict[tuple[int, int], Mapping[str, float] | None]


def picture(seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (40, 52, 3), dtype=np.uint8)


def posts(with_image: bool) -> list[PreparedPost]:
    asked = tuple(Request("s", "t", prompt, with_image, 5, labels=labels) for prompt, labels in QUESTIONS)
    seen = [asked, asked[:1], asked]
    return [PreparedPost(str(i), picture(i) if with_image else None, None, some) for i, some in enumerate(seen)]


def scores_of(engine: TransformersEngine, asked: Sequence[PreparedPost]) -> Scores:
    found = {(answer.post_index, answer.request_index): answer for answer in engine.answer(asked)}
    assert not [answer.error for answer in found.values() if answer.error]
    return {place: answer.label_scores for place, answer in found.items()}


def outputs_of(engine: TransformersEngine, asked: Sequence[PreparedPost]) -> dict[tuple[int, int], str | None]:
    return {(answer.post_index, answer.request_index): answer.output for answer in engine.answer(asked)}


@torch.no_grad()
def one_by_one(checkpoint: Path, asked: Sequence[PreparedPost]) -> Scores:
    """The definition: one whole forward a label, over prompt and word as they are tokenised together."""
    config = transformers.AutoConfig.from_pretrained(checkpoint)
    sees = config.model_type in ("llava", "idefics3")
    auto = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
    model = auto.from_pretrained(checkpoint, dtype=torch.float32).eval()
    processor = (transformers.AutoProcessor if sees else transformers.AutoTokenizer).from_pretrained(checkpoint)
    scores: Scores = {}
    for post_index, post in enumerate(asked):
        for request_index, request in enumerate(post.requests):
            shown = [{"type": "image"}] if request.with_image else []
            content: Any = [*shown, {"type": "text", "text": request.prompt}] if sees else request.prompt
            chat = [{"role": "user", "content": content}]
            text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            images = {"images": [Image.fromarray(post.image)]} if request.with_image and post.image is not None else {}
            sums = []
            for word in (request.labels or {}).values():
                prompt, whole = (
                    processor(text=[t], return_tensors="pt", add_special_tokens=False, **images)
                    for t in (text, text + word)
                )
                size = prompt["input_ids"].shape[1]
                assert whole["input_ids"][0, :size].tolist() == prompt["input_ids"][0].tolist()
                shares = model(**whole).logits[0].log_softmax(dim=-1)
                word_tokens = whole["input_ids"][0, size:]
                sums.append(sum(shares[size - 1 + at, token].item() for at, token in enumerate(word_tokens)))
            exponents = [math.exp(value - max(sums)) for value in sums]
            shares_of = {label: e / sum(exponents) for label, e in zip(request.labels or {}, exponents, strict=True)}
            scores[post_index, request_index] = shares_of or None
    return scores


def assert_same(found: Scores, expected: Scores) -> None:
    assert found.keys() == expected.keys()
    for place, scores in expected.items():
        assert found[place] == (None if scores is None else pytest.approx(scores, abs=1e-5)), place


@pytest.fixture(scope="module")
def text_engine(text_checkpoint: Path) -> TransformersEngine:
    return TransformersEngine(text_checkpoint, TEXT, threads=1, device="cpu")


@pytest.fixture(scope="module")
def llava_engine(llava_checkpoint: Path) -> TransformersEngine:
    return TransformersEngine(llava_checkpoint, LLAVA, threads=1, device="cpu")


def test_text_is_scored_as_by_one_forward_a_label(text_engine: TransformersEngine, text_checkpoint: Path) -> None:
    assert_same(scores_of(text_engine, posts(False)), one_by_one(text_checkpoint, posts(False)))


def test_pictures_are_scored_as_by_one_forward_a_label(
    llava_engine: TransformersEngine, llava_checkpoint: Path
) -> None:
    assert_same(scores_of(llava_engine, posts(True)), one_by_one(llava_checkpoint, posts(True)))


def test_an_architecture_that_is_given_pixels_is_scored_as_by_one_forward_a_label(idefics3_checkpoint: Path) -> None:
    engine = TransformersEngine(idefics3_checkpoint, LLAVA, threads=1, device="cpu")
    assert_same(scores_of(engine, posts(True)), one_by_one(idefics3_checkpoint, posts(True)))


def test_forcing_the_words_scores_as_the_cache_does(llava_checkpoint: Path, llava_engine: TransformersEngine) -> None:
    apart = TransformersEngine(llava_checkpoint, LLAVA, threads=1, device="cpu")
    apart._loaded.shares_prefixes = False
    assert_same(scores_of(apart, posts(True)), scores_of(llava_engine, posts(True)))


@pytest.mark.parametrize(
    "config",
    [
        transformers.MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=16),
        transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=400, n_positions=256, initializer_range=0.4),
    ],
    ids=["sliding window", "learned positions"],
)
def test_an_architecture_that_shares_no_cache_is_scored_as_by_one_forward_a_label(
    config: Any, text_checkpoint: Path, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_checkpoint)
    tokenizer.save_pretrained(tmp_path)
    config.vocab_size = len(tokenizer)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(tmp_path)
    engine = TransformersEngine(tmp_path, TEXT, threads=1, device="cpu")
    assert not engine._loaded.shares_prefixes
    assert_same(scores_of(engine, posts(False)), one_by_one(tmp_path, posts(False)))


@torch.no_grad()
def test_an_encoder_decoder_is_scored_by_its_decoder(make_tokenizer: Any) -> None:
    torch.manual_seed(5)
    tokenizer = make_tokenizer()
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    config = transformers.T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, pad_token_id=0, **sizes)
    model = transformers.T5ForConditionalGeneration(config).eval()
    model.generation_config = transformers.GenerationConfig(decoder_start_token_id=0)
    loaded: Any = SimpleNamespace(
        model=model, text_model=model, tokenizer=tokenizer, pad_token_id=0, shares_prefixes=False
    )
    scorer = LabelScorer(loaded)
    prompts = [tokenizer(text, return_tensors="pt") for text in ("is this humorous?", "a longer question than that")]
    requests = [
        EncodedRequest(at, 0, 4, {name: prompt[name] for name in NAMES}, {}, (), scorer.tokens("is it?", SENTIMENT))
        for at, prompt in enumerate(prompts)
    ]
    found = scorer.scores(model, stack(requests, 0), requests)
    for scores, prompt in zip(found, prompts, strict=True):
        sums = []
        for word in SENTIMENT.values():
            target = torch.tensor([tokenizer.encode(word, add_special_tokens=False)])
            start = torch.cat([torch.zeros(1, 1, dtype=torch.long), target[:, :-1]], dim=1)
            logits = model(**{name: prompt[name] for name in NAMES}, decoder_input_ids=start).logits[0].double()
            sums.append(logits.log_softmax(-1).gather(1, target[0][:, None]).sum().item())
        shares = torch.tensor(sums).softmax(0).tolist()
        assert scores == pytest.approx(dict(zip(SENTIMENT, shares, strict=True)), abs=1e-5)


def test_scoring_changes_no_answer(llava_engine: TransformersEngine) -> None:
    unscored = [
        dataclasses.replace(post, requests=tuple(dataclasses.replace(r, labels=None) for r in post.requests))
        for post in posts(True)
    ]
    assert outputs_of(llava_engine, posts(True)) == outputs_of(llava_engine, unscored)
    assert set(scores_of(llava_engine, unscored).values()) == {None}


def test_labels_have_several_tokens_of_different_number(text_engine: TransformersEngine) -> None:
    prompt = text_engine._loaded.wrapper.wrap(["x"])
    sizes = {len(tokens) for tokens in text_engine._labels.tokens(prompt, {**HUMOR, **SENTIMENT}).values()}
    assert len(sizes) > 2


def test_probabilities_sum_to_one_and_follow_the_picture(llava_engine: TransformersEngine) -> None:
    found = scores_of(llava_engine, posts(True))
    assert all(sum(scores.values()) == pytest.approx(1) for scores in found.values() if scores)
    assert found[0, 0] != found[1, 0]


def test_the_same_posts_give_the_same_scores(llava_engine: TransformersEngine) -> None:
    assert scores_of(llava_engine, posts(True)) == scores_of(llava_engine, posts(True))


def test_a_word_is_scored_behind_a_space_where_the_prompt_ends_in_a_word(text_checkpoint: Path) -> None:
    framed = dataclasses.replace(TEXT, prompt_template="{prompt} Answer:")
    engine = TransformersEngine(text_checkpoint, framed, threads=1, device="cpu")
    tokenizer, scorer = engine._loaded.tokenizer, engine._labels
    words = {"a": "humorous"}
    for prompt, said in (
        ("is it? Answer:", " humorous"),
        ("is it? Answer:\n", "humorous"),
        ("is it?<|im_end|>", "humorous"),
        ("x" * 500, " humorous"),
    ):
        assert tokenizer.decode(scorer.tokens(prompt, words)["a"]) == said
        whole = tokenizer.encode(prompt + said, add_special_tokens=False)
        assert whole[-len(scorer.tokens(prompt, words)["a"]) :] == list(scorer.tokens(prompt, words)["a"])


def test_a_word_is_tokenised_alone_where_a_token_would_span_the_end_of_the_prompt(
    text_engine: TransformersEngine,
) -> None:
    tokens = text_engine._labels.tokens("is this ", {"a": "humorous"})["a"]
    assert text_engine._loaded.tokenizer.decode(tokens) == "humorous"


def test_a_word_without_token_fails_its_request_only(text_engine: TransformersEngine) -> None:
    bad = Request("s", "t", "is it?", False, 3, labels={"a": "yes", "b": ""})
    good = dataclasses.replace(bad, labels={"a": "yes", "b": "no"})
    failed, answered = text_engine.answer([PreparedPost("p", None, None, (bad, good))])
    assert "makes no token of the answer word ''" in (failed.error or "")
    assert answered.label_scores


def test_words_that_do_not_fit_the_context_are_refused(text_engine: TransformersEngine) -> None:
    asked = Request("s", "t", "is it?", False, 1, labels={"a": "yes", "b": "z" * 300})
    (answer,) = text_engine.answer([PreparedPost("p", None, None, (asked,))])
    assert "more than the context of 256 tokens" in (answer.error or "")
