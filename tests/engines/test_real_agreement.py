"""The demo's real model: batches and shared prefixes say what each prompt alone says."""

from __future__ import annotations

import dataclasses

import pytest

from mmsoc_ray.data import decode_picture
from mmsoc_ray.data.demo import demo_posts
from mmsoc_ray.engines import PreparedPost, Request
from mmsoc_ray.engines.agreement import beyond_rounding, compare
from mmsoc_ray.engines.reference import TransformersReference
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models import CheckpointError, get_model, resolve_checkpoint
from mmsoc_ray.tasks import get_task, render

TASKS = ("humor", "sentiment", "ocr")
NEW_TOKENS = 5


def test_the_demos_model_says_the_same_alone_and_with_shared_prefixes() -> None:
    entry = dataclasses.replace(get_model("demo-llava"), dtype="float32")
    try:
        checkpoint = resolve_checkpoint(entry)
    except CheckpointError as error:
        pytest.skip(str(error))
    asked = []
    for _, post in zip(range(2), demo_posts("demo_memes", "test"), strict=False):
        requests = tuple(
            Request("zero_shot", task, render(get_task(task), post, "zero_shot"), True, NEW_TOKENS) for task in TASKS
        )
        asked.append(PreparedPost(post.post_key, decode_picture(post.image or b"", max_side=448), None, requests))
    together, alone = (
        list(TransformersEngine(checkpoint, entry, threads=1, device="cpu", alone=alone).answer(asked))
        for alone in (False, True)
    )
    assert sum(answer.cached_tokens > 60 for answer in together) == len(asked) * (len(TASKS) - 1)
    assert not any(answer.cached_tokens for answer in alone)
    found = compare(asked, together, alone)
    if found:  # else the reference need not be loaded
        found = beyond_rounding(compare(asked, together, alone, TransformersReference(checkpoint, entry)))
    assert not found, "\n".join(map(str, found))
