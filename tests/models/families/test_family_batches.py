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
OWN_AND_GREEDY = [  # the limit is the request's here
    (name, decoding)
    for name in MAKERS
    for decoding in {dataclasses.replace(get_model(name).decoding, max_new_tokens=None), GREEDY}
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

    def generated(inputs: dict[str, Any], max_new_tokens: int) -> Sequence[list[int]]:
        rows.append(len(inputs["input_ids"]))
        return generate(inputs, max_new_tokens)

    def decoded(prompts: Any, limits: Sequence[int]) -> Sequence[list[int]]:
        rows.append(len(limits))
        return decode(prompts, limits)

    engine._entry = dataclasses.replace(engine._entry, batch_tokens=batch_tokens)
    engine._generate, engine._decoder.answer = generated, decoded  # type: ignore[method-assign, assignment]
    found = sorted(engine.answer(posts()), key=lambda answer: (answer.post_index, answer.request_index))
    engine._generate, engine._decoder.answer = generate, decode  # type: ignore[method-assign]
    return found, rows


@pytest.mark.parametrize(("name", "decoding"), OWN_AND_GREEDY)
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
