"""What every architecture learns is what it is asked: the same prompt, and the answer behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_models import MAKERS

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import Post, decode_picture
from mmsoc_ray.engines import PreparedPost, Request
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models import ModelEntry, get_model
from mmsoc_ray.tasks import TASKS, render, right_answer
from mmsoc_ray.training.packing import IGNORED
from mmsoc_ray.training.samples import Sample, SampleMaker

RECIPE = Recipe(name="tiny", learning_rate=1e-3, steps=1, batch=4, micro_batch=4, context_tokens=600)
TASK = TASKS["humor"]


def tiny_entry(name: str) -> ModelEntry:
    return dataclasses.replace(get_model(name), dtype="float32")


def prepared(post: Post, entry: ModelEntry) -> PreparedPost:
    """Return a post as evaluation asks about it."""
    request = Request("finetuned", TASK.name, render(TASK, post, "zero_shot"), True, 8)
    assert post.image is not None
    return PreparedPost(post.post_key, decode_picture(post.image, max_side=entry.max_picture_side), None, (request,))


def losses(model: Any, batch: dict[str, torch.Tensor], apart: bool) -> torch.Tensor:
    """Return the sum over each row's answer tokens, shape (rows,)."""
    labels = batch["labels"]
    logits = model(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits
    if not apart:
        logits, labels = logits[:, :-1], labels[:, 1:]
    lost = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2).float(), labels, ignore_index=IGNORED, reduction="none"
    )
    return lost.sum(dim=1)


@pytest.mark.parametrize("name", MAKERS)
def test_an_architecture_learns_the_answer_to_the_prompt_that_it_is_asked(
    name: str,
    tiny_checkpoint: Callable[[str], Path],
    make_meme: Callable[..., Post],
    make_picture: Callable[..., bytes],
) -> None:
    folder, entry = tiny_checkpoint(name), tiny_entry(name)
    engine = TransformersEngine(folder, entry, threads=1, device="cpu")
    maker = SampleMaker(folder, entry, RECIPE)
    assert all(weights.is_meta for weights in maker._loaded.model.parameters())
    posts = [make_meme("m1"), make_meme("m2", image=make_picture(5, width=90, height=40)), make_meme("m3")]
    samples = [maker.make(post, TASK) for post in posts]
    for post, sample in zip(posts, samples, strict=True):
        check_tokens(engine, prepared(post, entry), post, sample, maker.encoder_decoder)

    batches = maker.micro_batches(samples)
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        alone = [losses(model, maker.collate([sample]), maker.encoder_decoder).item() for sample in samples]
        together = torch.cat([losses(model, batch, maker.encoder_decoder) for batch in batches])
    assert sorted(together.tolist()) == pytest.approx(sorted(alone), abs=1e-4)
    # The loss is what evaluation itself finds of the answer, token by token.
    asked, said = prepared(posts[0], entry), scored(samples[0])
    found = [engine.next_token(asked, said[:place])[token].item() for place, token in enumerate(said)]
    assert alone[0] == pytest.approx(-sum(found), abs=1e-4)
    model.train()
    assert all(torch.isfinite(model(**batch).loss) for batch in batches)


def scored(sample: Sample) -> list[int]:
    return [token for token in sample.labels[0].tolist() if token != IGNORED]


def check_tokens(engine: TransformersEngine, asked: PreparedPost, post: Post, sample: Sample, apart: bool) -> None:
    """Hold a sample against what the engine feeds, token by token."""
    ((_, _, fed),) = engine._encode_posts(0, [asked])
    assert not isinstance(fed, Exception)
    prompt = fed.token_inputs["input_ids"].shape[1]
    answer = scored(sample)
    assert answer[-1] in engine._loaded.end_token_ids
    assert not set(answer[:-1]) & engine._loaded.end_token_ids
    decoded = engine._loaded.tokenizer.decode(answer[:-1], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert decoded.removeprefix(" ") == right_answer(TASK, post.targets["humor"])
    for name, tensor in fed.token_inputs.items():
        assert torch.equal(sample.tokens[name][:, : tensor.shape[1]], tensor)
    ids, labels = sample.input_ids[0].tolist(), sample.labels[0].tolist()
    if apart:
        assert (len(ids), labels) == (prompt, answer)
    else:
        assert ids[prompt:] == answer
        assert labels == [IGNORED] * prompt + answer
    pixels = engine._reader.read(asked.requests[0], asked.image)[1]
    assert sample.pictures.keys() == pixels.keys()
    assert all(torch.equal(sample.pictures[name], pixels[name]) for name in pixels)
