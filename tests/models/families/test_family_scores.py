"""Labels are scored with every architecture that the registry names, with and without a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from library_alone import LibraryAlone
from PIL import Image
from tiny_models import MAKERS

from mmsoc_ray.engines import PreparedPost, Request
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models import get_model

LABELS = {"yes": "yes", "no": "humorous", "maybe": "not_humorous"}
PROMPTS = ("is this meme humorous?", "what is the answer to this question")


def posts() -> list[PreparedPost]:
    shown = tuple(
        Request("s", "t", prompt, with_image, 4, labels=LABELS) for prompt in PROMPTS for with_image in (1, 0)
    )
    pictures = [np.random.default_rng(seed).integers(0, 256, (40, 52, 3), dtype=np.uint8) for seed in (0, 1)]
    return [PreparedPost(str(at), picture, None, shown) for at, picture in enumerate(pictures)]


@torch.no_grad()
def by_forwards(
    alone: LibraryAlone, engine: TransformersEngine, post: PreparedPost, request: Request
) -> Mapping[str, float]:
    """One whole forward a label."""
    wrapper, model = engine._loaded.wrapper, alone.model
    text = wrapper.wrap(request.pieces)
    picture = Image.fromarray(post.image) if request.with_image else None  # type: ignore[arg-type]
    inputs = alone.inputs(text, picture, add_special_tokens=wrapper.add_special_tokens)
    if not request.with_image:
        inputs = {name: tensor for name, tensor in inputs.items() if not name.startswith("qformer")}
        model = model.language_model if "Blip" in alone.name else model
    apart = engine._loaded.text_model.config.is_encoder_decoder
    sums = []
    for word in engine._labels.tokens(text, LABELS).values():
        target = torch.tensor([word])
        if apart:
            start = torch.full((1, 1), engine._loaded.text_model.generation_config.decoder_start_token_id)
            logits = model(**inputs, decoder_input_ids=torch.cat([start, target[:, :-1]], 1)).logits[0]
        else:
            whole = {"input_ids": torch.cat([inputs["input_ids"], target], 1)}
            whole["attention_mask"] = torch.ones_like(whole["input_ids"])
            for types in {"token_type_ids", "mm_token_type_ids"} & inputs.keys():
                whole[types] = torch.cat([inputs[types], torch.zeros_like(target)], 1)
            logits = model(**{**inputs, **whole}).logits[0, -1 - len(word) : -1]
        sums.append(logits.log_softmax(-1).gather(1, target[0][:, None]).sum())
    return dict(zip(LABELS, torch.stack(sums).softmax(0).tolist(), strict=True))


@pytest.mark.parametrize("name", MAKERS)
def test_an_architecture_scores_like_the_library_alone(name: str, tiny_checkpoint: Callable[[str], Path]) -> None:
    folder = tiny_checkpoint(name)
    engine = TransformersEngine(folder, dataclasses.replace(get_model(name), dtype="float32"), threads=1, device="cpu")
    alone, asked = LibraryAlone(folder), posts()
    answers = list(engine.answer(asked))
    assert [answer.error for answer in answers] == [None] * 8
    for answer in answers:
        post = asked[answer.post_index]
        expected = by_forwards(alone, engine, post, post.requests[answer.request_index])
        assert answer.label_scores == pytest.approx(expected, abs=1e-5)
