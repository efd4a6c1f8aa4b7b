"""Base model and adapters in one transformers engine, held to checkpoints with each adapter merged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from mmsoc_ray.engines import Answer, PreparedPost, Request, open_engine
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.entry import Decoding, ModelEntry

ENTRY = ModelEntry("tiny", "tiny", 0, "transformers", sees_pictures=True, dtype="float32")
TEXT = r".*language_model.*\.(q_proj|v_proj|down_proj)"
ADAPTERS: dict[str, dict[str, Any]] = {
    "plain-1.0": {"r": 4, "target_modules": TEXT},
    "rank-stabilised": {"r": 12, "target_modules": TEXT, "use_rslora": True},
    "decomposed": {"r": 4, "target_modules": TEXT, "use_dora": True},
    "seeing": {"r": 4, "target_modules": r".*(vision_tower.*|language_model.*)\.(q_proj|v_proj)"},
}
PROMPTS = ("is this meme humorous? answer", "is this meme sarcastic? answer", "is this meme humorous or not the user")


def save_adapter(checkpoint: Path, folder: Path, merged: Path, **options: Any) -> None:
    """Save an adapter with random weights, and the checkpoint with it merged."""
    library: Any = transformers
    model = library.AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32)
    torch.manual_seed(len(str(options)))
    adapted: Any = peft.get_peft_model(model, peft.LoraConfig(lora_alpha=24, init_lora_weights=False, **options))
    adapted.save_pretrained(folder)
    adapted.merge_and_unload().save_pretrained(merged)
    library.AutoProcessor.from_pretrained(checkpoint).save_pretrained(merged)


@pytest.fixture(scope="module")
def folders(llava_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Each adapter's folder, and that of the checkpoint with it merged."""
    made = {name: (tmp_path_factory.mktemp("adapter"), tmp_path_factory.mktemp("merged")) for name in ADAPTERS}
    for name, (folder, merged) in made.items():
        save_adapter(llava_checkpoint, folder, merged, **ADAPTERS[name])
    return made


def asked(*adapters: str) -> list[PreparedPost]:
    """Posts whose requests share a prefix, each asked of every adapter in turn, with the picture and without."""
    requests = [
        Request("s", "humor", prompt, shown, limit, adapter=adapter, labels=labels)
        for prompt, limit in zip(PROMPTS, (6, 4, 8), strict=True)
        for adapter in adapters
        for shown, labels in ((True, {"a": "humorous", "b": "not"}), (False, None))
    ]
    pictures = [np.random.default_rng(seed).integers(0, 256, (40, 52, 3), np.uint8) for seed in range(2)]
    return [PreparedPost(f"p{at}", picture, None, tuple(requests)) for at, picture in enumerate(pictures)]


def answers(engine: TransformersEngine, posts: Sequence[PreparedPost], adapter: str) -> list[Answer]:
    """What an adapter answers, in the order of the requests."""
    found = {(answer.post_index, answer.request_index): answer for answer in engine.answer(posts)}
    places = [(p, r) for p, post in enumerate(posts) for r in range(len(post.requests))]
    assert sorted(found) == places
    return [found[p, r] for p, r in places if posts[p].requests[r].adapter == adapter]


def check(found: Sequence[Answer], expected: Sequence[Answer]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one.output, one.error, one.prompt_tokens) == (other.output, None, other.prompt_tokens)
        assert (one.label_scores or {}) == pytest.approx(dict(other.label_scores or {}), abs=1e-4)


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(repetition_penalty=1.2)])
def test_base_and_adapters_answer_in_one_engine_as_each_does_merged(
    llava_checkpoint: Path, folders: dict[str, tuple[Path, Path]], decoding: Decoding
) -> None:
    entry = dataclasses.replace(ENTRY, decoding=decoding)
    adapters = {name: folder for name, (folder, _) in folders.items()}
    together = TransformersEngine(llava_checkpoint, entry, threads=1, device="cpu", adapters=adapters)
    posts = asked("", *ADAPTERS)
    said = {}
    for name in ("", *ADAPTERS):
        checkpoint = folders[name][1] if name else llava_checkpoint
        alone = TransformersEngine(checkpoint, entry, threads=1, device="cpu")
        said[name] = answers(together, posts, name)
        check(said[name], answers(alone, asked(""), ""))
    assert len({tuple(answer.output for answer in found) for found in said.values()}) == len(said), "nothing is adapted"


def test_the_base_model_answers_to_the_bit_as_without_adapters(
    llava_checkpoint: Path, folders: dict[str, tuple[Path, Path]]
) -> None:
    adapters = {name: folder for name, (folder, _) in folders.items()}
    plain = TransformersEngine(llava_checkpoint, ENTRY, threads=1, device="cpu")
    beside = TransformersEngine(llava_checkpoint, ENTRY, threads=1, device="cpu", adapters=adapters)
    posts = asked("")
    list(beside.answer(asked(*ADAPTERS)))
    for before, after in zip(answers(plain, posts, ""), answers(beside, posts, ""), strict=True):
        assert (before.token_ids, before.label_scores) == (after.token_ids, after.label_scores)
        assert before.cached_tokens == after.cached_tokens


def test_a_picture_is_encoded_once_for_all_adapters_that_leave_the_encoder_alone(
    llava_checkpoint: Path, folders: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters = {name: folder for name, (folder, _) in folders.items()}
    engine = TransformersEngine(llava_checkpoint, ENTRY, threads=1, device="cpu", adapters=adapters)
    inner = engine._loaded.model.base_model
    passes: list[int] = []
    encode = inner.get_image_features

    def counted(pixel_values: torch.Tensor, **options: Any) -> Any:
        passes.append(len(pixel_values))
        return encode(pixel_values, **options)

    monkeypatch.setattr(inner, "get_image_features", counted)
    list(engine.answer(asked("", "plain-1.0", "rank-stabilised", "decomposed")))
    assert passes == [2]
    list(engine.answer(asked("", "seeing")))
    assert passes == [2, 2, 2]


def test_margins_are_those_of_the_adapter_that_answered(
    llava_checkpoint: Path, folders: dict[str, tuple[Path, Path]]
) -> None:
    folder, merged = folders["plain-1.0"]
    engine = TransformersEngine(llava_checkpoint, ENTRY, threads=1, device="cpu", adapters={"plain-1.0": folder})
    alone = TransformersEngine(merged, ENTRY, threads=1, device="cpu")
    (post, *_) = asked("")
    found = []
    for adapter, asks in (("plain-1.0", engine), ("", alone), ("", engine)):
        request = dataclasses.replace(post.requests[0], adapter=adapter)
        found.append(asks.next_token(dataclasses.replace(post, requests=(request,)), [5]))
    assert torch.allclose(found[0], found[1], atol=1e-4)
    assert not torch.allclose(found[0], found[2], atol=1e-4)


def test_an_adapter_that_is_not_there_is_an_error_of_its_request(llava_checkpoint: Path) -> None:
    engine = TransformersEngine(llava_checkpoint, ENTRY, threads=1, device="cpu")
    posts = asked("", "gone")
    errors = {answer.error for answer in answers(engine, posts, "gone")}
    assert errors == {"ValueError: there is no adapter 'gone' here; there are: (none)"}
    assert {a.error for a in answers(engine, posts, "")} == {None}


def test_an_adapter_that_does_not_fit_is_refused(
    text_checkpoint: Path, folders: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    entry = dataclasses.replace(ENTRY, sees_pictures=False)
    with pytest.raises(ConfigurationError, match="adapter 'seeing' does not fit the model: "):
        open_engine(entry, text_checkpoint, device="cpu", adapters={"seeing": folders["seeing"][0]})
    with pytest.raises(ConfigurationError, match=r"adapter 'empty': .* holds no adapter_model.safetensors"):
        open_engine(entry, text_checkpoint, device="cpu", adapters={"empty": tmp_path})
