"""Few-shot examples with their pictures, on tiny checkpoints, held to the library alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from library_alone import PICTURE_TOKENS, LibraryAlone
from PIL import Image
from test_families import ARCHITECTURES, NEW_TOKENS

from mmsoc_ray.data import decode_picture
from mmsoc_ray.engines import PreparedPost, Request
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models import get_model, model_names

WHOLE_PROCESSORS = [
    name for name, kind in ARCHITECTURES.items() if get_model(name).several_pictures and kind not in PICTURE_TOKENS
]
"""Models of several pictures whose processor the library makes without torchvision."""


def answer_pieces(alone: LibraryAlone, pieces: Sequence[str], pictures: list[Image.Image]) -> str:
    """Return what the library answers to pieces of text with a picture before each but the first."""
    parts: list[dict[str, str]] = []
    for number, text in enumerate(pieces):
        parts += [{"type": "image"}] if number else []
        parts += [{"type": "text", "text": text}]
    text = alone.reader.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    inputs = alone.reader(text=[text], images=[pictures], return_tensors="pt")
    tokens = alone.model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=2, pad_token_id=0)
    before = inputs["input_ids"].shape[1]
    return str(alone.reader.tokenizer.decode(tokens[0, before:], skip_special_tokens=True))


def test_a_family_says_who_says_that_it_takes_several_pictures() -> None:
    entries = [get_model(name) for name in model_names()]
    several = {entry.family for entry in entries if entry.several_pictures}
    one = {entry.family for entry in entries if entry.sees_pictures} - several
    assert one == {"blip2", "instructblip", "llama-adapter-v2", "minigpt-4", "mplug-owl2"}
    assert all(entry.sees_pictures for entry in entries if entry.several_pictures)


@pytest.mark.parametrize("name", WHOLE_PROCESSORS)
def test_several_pictures_are_answered_like_the_library_alone(
    name: str, toy: Any, tiny_checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_checkpoint(name)
    engine = TransformersEngine(folder, replace(get_model(name), dtype="float32"), threads=1, device="cpu")
    monkeypatch.setattr(engine._loaded, "context_tokens", None)
    files = [post.image for post in toy.memes if post.sample_id in {"m0", "m6", "m7", "m8"}]
    first, second, *shown = [decode_picture(file, max_side=64) for file in files]
    places = (len("Example 1:\n"), len("Example 1:\nis it? yes\n"), len("Example 1:\nis it? yes\nno\n"))
    text = "Example 1:\nis it? yes\nno\nis it humorous?"
    request = Request("few_shot_2", "humor", text, True, NEW_TOKENS, example_pictures=(first, second), places=places)
    posts = [PreparedPost(str(at), picture, None, (request,)) for at, picture in enumerate(shown)]
    alone = LibraryAlone(folder)
    for answer in engine.answer(posts):
        pictures = [Image.fromarray(pixels) for pixels in (first, second, shown[answer.post_index])]
        assert answer.error is None
        assert answer.output == answer_pieces(alone, request.pieces, pictures)
