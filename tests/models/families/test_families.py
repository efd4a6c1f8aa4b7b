"""Every architecture that the registry names, on a tiny checkpoint of its own, through the whole pipeline."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import transformers
from PIL import Image
from transformers.utils import is_torchvision_available

from mmsoc_ray.data import decode_picture
from mmsoc_ray.engines import PreparedPost, Request
from mmsoc_ray.engines.checkpoint import load_wrapper
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import get_model, model_names
from mmsoc_ray.models.families.published import NEEDS_TORCHVISION

NEW_TOKENS = 6
IN_PROCESS = {
    "llava-1.5-7b": "LlavaForConditionalGeneration",
    "llava-1.6-vicuna-7b": "LlavaNextForConditionalGeneration",
    "blip2-opt-2.7b": "Blip2ForConditionalGeneration",
    "blip2-flan-t5-xl": "Blip2ForConditionalGeneration",
    "instructblip-vicuna-7b": "InstructBlipForConditionalGeneration",
    "instructblip-flan-t5-xl": "InstructBlipForConditionalGeneration",
    "idefics3-8b": "Idefics3ForConditionalGeneration",
    "gemma-3-4b": "Gemma3ForConditionalGeneration",
}
"""A model of the registry that stands for each architecture; where the language model matters, one for each."""

WITH_TORCHVISION = {
    "qwen2-vl-2b": "Qwen2VLForConditionalGeneration",
    "qwen2.5-vl-3b": "Qwen2_5_VLForConditionalGeneration",
}
"""Those whose processors insist on torchvision, which this package does without."""

UNTRIED = {
    "Qwen3VLForConditionalGeneration",
    "SmolVLMForConditionalGeneration",
    "LlavaOnevisionForConditionalGeneration",
    "InternVLForConditionalGeneration",
}
"""Architectures that need torchvision and have no tiny checkpoint here yet."""

RUNNABLE = {**IN_PROCESS, **(WITH_TORCHVISION if is_torchvision_available() else {})}

BEAMS = {"num_beams": 5, "length_penalty": 1.0, "min_length": 1}

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def answered(
    toy: Any,
    ray_session: None,
    mmsoc: Callable[..., int],
    tiny_checkpoint: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Rows:
    """Run a grid of all of them; return each one's predictions."""
    folder = tmp_path_factory.mktemp("families")
    models = "".join(f"  {name}: {{checkpoint: {tiny_checkpoint(name)}, dtype: float32}}\n" for name in RUNNABLE)
    (folder / "grid.yaml").write_text(
        f"name: families\ndata: {toy.data}\ndatasets: [toy_memes]\n"
        f"tasks:\n  humor: {{max_new_tokens: {NEW_TOKENS}}}\n  sarcasm: {{max_new_tokens: {NEW_TOKENS}}}\n"
        "defaults: {settings: [zero_shot, text_only], resources: {cpus: 0.5, threads: 1}}\n"
        f"models:\n{models}"
    )
    assert mmsoc("run", folder / "grid.yaml", "--output", folder / "out", "--run-id", "families", "--limit", 8) == 0
    runs = folder / "out" / "runs" / "families"
    return {name: pq.read_table(next(runs.glob(f"model={name}/*/predictions"))).to_pylist() for name in RUNNABLE}


class Plain:
    """A checkpoint as the library alone answers with it: one prompt at a time, pixels and all."""

    def __init__(self, folder: Path, template: str) -> None:
        self.model: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor: Any = transformers.AutoProcessor.from_pretrained(folder)
        self.template = template

    def answer_pieces(self, pieces: Sequence[str], pictures: list[Image.Image]) -> str:
        parts: list[dict[str, str]] = []
        for number, text in enumerate(pieces):
            parts += [{"type": "image"}] if number else []
            parts += [{"type": "text", "text": text}]
        text = self.processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
        inputs = self.processor(text=[text], images=[pictures], return_tensors="pt")
        tokens = self.model.generate(
            **inputs, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=2, pad_token_id=0
        )
        before = inputs["input_ids"].shape[1]
        return str(self.processor.tokenizer.decode(tokens[0, before:], skip_special_tokens=True))

    def answer(self, prompt: str, picture: Image.Image | None, decoding: dict[str, Any]) -> str:
        text = self.template.format(prompt=prompt)
        if self.template == "chat":
            shown = [{"type": "image"}] if picture else []
            messages = [{"role": "user", "content": [*shown, {"type": "text", "text": prompt}]}]
            text = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = self.processor(text=[text], return_tensors="pt", **({"images": [picture]} if picture else {}))
        model, has_encoder = self.model, False
        if "Blip" in type(model).__name__:
            has_encoder = "T5" in type(model.language_model).__name__
            if picture is None:
                model = model.language_model
                inputs = {name: tensor for name, tensor in inputs.items() if not name.startswith("qformer")}
        before = 1 if has_encoder else inputs["input_ids"].shape[1]
        penalty: dict[str, Any] = {}
        if decoding and has_encoder:
            penalty = {"repetition_penalty": 1.5}
        elif decoding:  # the answer is penalised, not the prompt
            processor = transformers.RepetitionPenaltyLogitsProcessor(1.5, prompt_ignore_length=before)
            penalty = {"logits_processor": [processor]}
        tokens = model.generate(
            **inputs, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=2, pad_token_id=0, **decoding, **penalty
        )
        return str(self.processor.tokenizer.decode(tokens[0, before:], skip_special_tokens=True))


@pytest.mark.parametrize("name", {**IN_PROCESS, **WITH_TORCHVISION})
def test_an_architecture_answers_like_the_library_alone(
    name: str, answered: Rows, toy: Any, tiny_checkpoint: Callable[[str], Path]
) -> None:
    if name not in RUNNABLE:
        pytest.skip(f"the processor of {name} needs torchvision, which is not installed")
    pictures = {post.sample_id: post.image for post in toy.memes}
    plain = Plain(tiny_checkpoint(name), get_model(name).prompt_template)
    good = [row for row in answered[name] if row["error"] is None]
    outputs = set()
    for row in good:
        shown = row["setting"] == "zero_shot"
        picture = Image.open(io.BytesIO(pictures[row["sample_id"]])) if shown else None
        assert row["output"] == plain.answer(row["prompt"], picture, BEAMS if "blip" in name else {})
        outputs.add(row["output"])
    assert sum(row["setting"] == "zero_shot" for row in good) == 2 * 5
    assert sum(row["setting"] == "text_only" for row in good) >= 2 * 7
    assert len(outputs) > 4  # else equality would say little


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
@pytest.mark.parametrize("name", WITH_TORCHVISION)
def test_a_processor_that_needs_torchvision_is_refused_by_name(
    name: str, tiny_checkpoint: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigurationError, match=f"model '{name}'.*its processor needs a package.*Torchvision"):
        load_wrapper(tiny_checkpoint(name), get_model(name))


def test_every_architecture_runs_here_or_needs_torchvision() -> None:
    entries = [get_model(name) for name in model_names()]
    named = {entry.architecture for entry in entries if entry.engine == "transformers" and entry.architecture}
    elsewhere = {entry.architecture for entry in entries if entry.note == NEEDS_TORCHVISION}
    assert named - elsewhere == set(IN_PROCESS.values())
    assert elsewhere == {*WITH_TORCHVISION.values(), *UNTRIED}
    for name, architecture in {**IN_PROCESS, **WITH_TORCHVISION}.items():
        assert get_model(name).architecture == architecture


def test_a_family_says_who_says_that_it_takes_several_pictures() -> None:
    entries = [get_model(name) for name in model_names()]
    several = {entry.family for entry in entries if entry.several_pictures}
    one = {entry.family for entry in entries if entry.sees_pictures} - several
    assert one == {"blip2", "instructblip", "llama-adapter-v2", "minigpt-4", "mplug-owl2"}
    assert all(entry.sees_pictures for entry in entries if entry.several_pictures)


@pytest.mark.parametrize("name", [name for name in RUNNABLE if get_model(name).several_pictures])
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
    plain = Plain(folder, "chat")
    for answer in engine.answer(posts):
        pictures = [Image.fromarray(pixels) for pixels in (first, second, shown[answer.post_index])]
        assert answer.error is None
        assert answer.output == plain.answer_pieces(request.pieces, pictures)
