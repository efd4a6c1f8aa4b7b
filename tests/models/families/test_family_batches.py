"""A request's answer does not depend on what shares its batch: padding, masks and pictures' places are right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import MAKERS

from mmsoc_ray.engines import Answer, PreparedPost, Request
from mmsoc_ray.engines.encoded import EncodedRequest
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models import get_model
from mmsoc_ray.models.entry import Decoding

PROMPTS = (
    "is it humorous?",
    "what is the answer to this question about the meme and the picture",
    "answer: user or not",
)
LABELS = {"yes": "humorous", "no": "not_humorous"}
GREEDY = Decoding()
SAMPLED = Decoding(temperature=1.0, top_p=0.95, seed=1)
OWN_GREEDY_AND_SAMPLED = [  # the limit is the request's here
    *(
        (name, decoding)
        for name in MAKERS
        for decoding in {dataclasses.replace(get_model(name).decoding, max_new_tokens=None), GREEDY}
    ),
    # An encoder-decoder, a language model behind embedded pictures, a sliding window, positions in three dimensions.
    *((name, SAMPLED) for name in ("blip2-flan-t5-xl", "blip2-opt-2.7b", "gemma-3-4b", "qwen2-vl-2b")),
]


def posts() -> list[PreparedPost]:
    """Two pictures of one shape and one of another; questions of several lengths, with and without the picture."""
    shapes = ((40, 52, 3), (40, 52, 3), (64, 30, 3))
    requests = tuple(
        Request("s", "t", prompt, shown, 5, labels=LABELS) for prompt in PROMPTS for shown in (True, False)
    )
    rng = np.random.default_rng(7)
    pictures = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    return [PreparedPost(str(at), picture, None, requests) for at, picture in enumerate(pictures)]


def answers(engine: TransformersEngine, batch_tokens: int) -> tuple[list[Answer], list[int]]:
    """Answer with a bound on the batches; return the answers in order, and the rows of each batch."""
    rows: list[int] = []
    generate, decode = engine._generate, engine._decoder.answer

    def generated(inputs: dict[str, Any], requests: Sequence[EncodedRequest]) -> Sequence[list[int]]:
        rows.append(len(requests))
        return generate(inputs, requests)

    def decoded(prompts: Any, limits: Sequence[int], seeds: Sequence[int]) -> Sequence[list[int]]:
        rows.append(len(limits))
        return decode(prompts, limits, seeds)

    engine._entry = dataclasses.replace(engine._entry, batch_tokens=batch_tokens)
    engine._generate, engine._decoder.answer = generated, decoded  # type: ignore[method-assign, assignment]
    found = sorted(engine.answer(posts()), key=lambda answer: (answer.post_index, answer.request_index))
    engine._generate, engine._decoder.answer = generate, decode  # type: ignore[method-assign]
    return found, rows


@pytest.mark.parametrize(("name", "decoding"), OWN_GREEDY_AND_SAMPLED)
def test_an_answer_is_the_same_alone_and_in_a_batch(
    name: str, decoding: Decoding, tiny_checkpoint: Callable[[str], Path]
) -> None:
    entry = dataclasses.replace(get_model(name), dtype="float32", decoding=decoding)
    engine = TransformersEngine(tiny_checkpoint(name), entry, threads=1, device="cpu")
    together, rows_together = answers(engine, 10**6)
    alone, rows_alone = answers(engine, 1)
    assert max(rows_together) > 2
    assert set(rows_alone) == {1}
    assert [answer.error for answer in together] == [None] * 18
    assert [answer.output for answer in together] == [answer.output for answer in alone]
    assert len({answer.output for answer in together}) > 6  # else equality would say little
    for one, other in zip(together, alone, strict=True):
        assert one.label_scores == pytest.approx(other.label_scores, abs=1e-4)
