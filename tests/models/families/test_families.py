"""Every architecture that the registry names, on a tiny checkpoint of its own, through the whole pipeline."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
import transformers
from library_alone import LibraryAlone
from PIL import Image
from tiny_parts import make_tokenizer
from transformers.utils import is_torchvision_available

from mmsoc_ray.engines.checkpoint import load_wrapper
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import get_model, model_names
from mmsoc_ray.models.entry import Decoding

NEW_TOKENS = 6
ARCHITECTURES = {
    "llava-1.5-7b": "LlavaForConditionalGeneration",
    "llava-1.6-vicuna-7b": "LlavaNextForConditionalGeneration",
    "llava-onevision-0.5b": "LlavaOnevisionForConditionalGeneration",
    "blip2-opt-2.7b": "Blip2ForConditionalGeneration",
    "blip2-flan-t5-xl": "Blip2ForConditionalGeneration",
    "instructblip-vicuna-7b": "InstructBlipForConditionalGeneration",
    "instructblip-flan-t5-xl": "InstructBlipForConditionalGeneration",
    "idefics3-8b": "Idefics3ForConditionalGeneration",
    "smolvlm2-256m": "SmolVLMForConditionalGeneration",
    "qwen2-vl-2b": "Qwen2VLForConditionalGeneration",
    "qwen2.5-vl-3b": "Qwen2_5_VLForConditionalGeneration",
    "qwen3-vl-2b": "Qwen3VLForConditionalGeneration",
    "internvl3-1b": "InternVLForConditionalGeneration",
    "gemma-3-4b": "Gemma3ForConditionalGeneration",
}
"""A model of the registry that stands for each architecture; where the language model matters, one for each."""

BEAMS = Decoding(num_beams=5, repetition_penalty=1.5, length_penalty=1.0, min_length=1)
BEAM_SEARCH = {"num_beams": 5, "length_penalty": 1.0, "min_length": 1}

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def answered(
    toy: Any,
    ray_session: None,
    mmsoc: Callable[..., int],
    tiny_checkpoint: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Rows:
    """Run them in two grids at a time, since most of it is waiting for imports; return each one's predictions."""
    folder = tmp_path_factory.mktemp("families")
    one, other = (folder / "one.yaml", folder / "other.yaml")
    for grid, names in ((one, list(ARCHITECTURES)[::2]), (other, list(ARCHITECTURES)[1::2])):
        models = "".join(f"  {name}: {{checkpoint: {tiny_checkpoint(name)}, dtype: float32}}\n" for name in names)
        grid.write_text(
            f"name: {grid.stem}\ndata: {toy.data}\ndatasets: [toy_memes]\n"
            f"tasks:\n  humor: {{max_new_tokens: {NEW_TOKENS}}}\n  sarcasm: {{max_new_tokens: {NEW_TOKENS}}}\n"
            "defaults: {settings: [zero_shot, text_only], resources: {cpus: 0.5, threads: 1}}\n"
            f"models:\n{models}"
        )
    options = ["--output", folder / "out", "--limit", "8"]
    joined = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    with subprocess.Popen([sys.executable, "-m", "mmsoc_ray.cli", "run", other, *options], env=joined) as process:
        assert mmsoc("run", one, *options) == 0
    assert process.returncode == 0
    runs = folder / "out" / "runs"
    return {name: pq.read_table(next(runs.glob(f"*/model={name}/*/predictions"))).to_pylist() for name in ARCHITECTURES}


def answer_alone(alone: LibraryAlone, name: str, prompt: str, picture: Image.Image | None) -> str:
    template, decoding = get_model(name).prompt_template, BEAM_SEARCH if "blip" in name else {}
    text = alone.chat(prompt, picture is not None) if template == "chat" else template.format(prompt=prompt)
    inputs, model, has_encoder = alone.inputs(text, picture), alone.model, False
    if "blip" in name:
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
    tokenizer = getattr(alone.reader, "tokenizer", alone.reader)
    return str(tokenizer.decode(tokens[0, before:], skip_special_tokens=True))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_answers_like_the_library_alone(
    name: str, answered: Rows, toy: Any, tiny_checkpoint: Callable[[str], Path]
) -> None:
    pictures = {post.sample_id: post.image for post in toy.memes}
    alone = LibraryAlone(tiny_checkpoint(name))
    good = [row for row in answered[name] if row["error"] is None]
    outputs = set()
    for row in good:
        shown = row["setting"] == "zero_shot"
        picture = Image.open(io.BytesIO(pictures[row["sample_id"]])) if shown else None
        assert row["output"] == answer_alone(alone, name, row["prompt"], picture)
        outputs.add(row["output"])
    assert sum(row["setting"] == "zero_shot" for row in good) == 2 * 5
    assert sum(row["setting"] == "text_only" for row in good) >= 2 * 7
    assert len(outputs) > 4  # else equality would say little


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
def test_a_processor_that_needs_a_missing_package_is_refused_by_name(tmp_path: Path) -> None:
    transformers.Mistral3Config().save_pretrained(tmp_path)
    make_tokenizer("[IMG]").save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match=r"model 'llava-1\.5-7b'.*its processor needs a package.*Torchvision"):
        load_wrapper(tmp_path, get_model("llava-1.5-7b"))


def test_every_architecture_of_the_registry_runs_here() -> None:
    entries = [get_model(name) for name in model_names()]
    assert {entry.architecture for entry in entries if entry.architecture} == set(ARCHITECTURES.values())
    for name, architecture in ARCHITECTURES.items():
        assert get_model(name).architecture == architecture


def test_every_decoding_default_of_the_registry_runs_here_or_on_a_server() -> None:
    entries = [get_model(name) for name in model_names()]
    here = {get_model(name).decoding for name in ARCHITECTURES}
    assert here == {Decoding(), Decoding(max_new_tokens=128), dataclasses.replace(BEAMS, max_new_tokens=128)}
    elsewhere = [entry for entry in entries if entry.decoding not in here]
    assert {(entry.engine, entry.decoding) for entry in elsewhere} == {("endpoint", Decoding(max_new_tokens=256))}
