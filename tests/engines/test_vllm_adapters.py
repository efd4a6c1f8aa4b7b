"""Base model and LoRA adapters in one vLLM engine, held to checkpoints with each adapter merged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from mmsoc_ray.engines import open_engine
from mmsoc_ray.engines.protocol import Answer, Engine, PreparedPost, Request
from mmsoc_ray.engines.vllm import VllmEngine
from mmsoc_ray.engines.vllm_start import rank_bound
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.entry import ModelEntry

ENTRY = ModelEntry(name="tiny", family="tiny", parameters_b=0, engine="vllm", sees_pictures=True, dtype="float32")
RANKS = {"small": 4, "large": 12}


def save_adapter(checkpoint: Path, rank: int, folder: Path, merged: Path) -> None:
    """Save a LoRA adapter with random weights, and the checkpoint with it merged."""
    library: Any = transformers
    model = library.AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32)
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=r".*text_model.*\.(q_proj|v_proj|down_proj)",
        init_lora_weights=False,
        use_rslora=rank > 8,
    )
    torch.manual_seed(rank)
    adapted: Any = peft.get_peft_model(model, config)
    adapted.save_pretrained(folder)
    adapted.merge_and_unload().save_pretrained(merged)
    library.AutoTokenizer.from_pretrained(checkpoint).save_pretrained(merged)
    for file in checkpoint.iterdir():
        if not (merged / file.name).exists():
            (merged / file.name).write_bytes(file.read_bytes())


def posts_of(adapter: str) -> list[PreparedPost]:
    picture = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    ask = Request("zero_shot", "humor", "is this meme humorous answer the user", True, 6, adapter=adapter)
    others = [dataclasses.replace(ask, prompt=f"is this sarcastic {number}") for number in range(3)]
    return [PreparedPost(f"p-{adapter}", picture, None, (ask, *others))]


def answered(engine: Engine, posts: list[PreparedPost]) -> list[str | None]:
    answers: list[Answer] = sorted(engine.answer(posts), key=lambda answer: (answer.post_index, answer.request_index))
    assert [answer.error for answer in answers] == [None] * len(answers)
    return [answer.output for answer in answers]


def test_base_and_adapters_answer_in_one_engine_as_each_does_merged(
    vllm_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    checkpoint = vllm_checkpoint("idefics3")
    folders = {name: tmp_path / name for name in RANKS}
    expected = {"": answered(open_engine(dataclasses.replace(ENTRY, engine="transformers"), checkpoint), posts_of(""))}
    for name, rank in RANKS.items():
        save_adapter(checkpoint, rank, folders[name], tmp_path / f"{name}-merged")
        alone = open_engine(dataclasses.replace(ENTRY, engine="transformers"), tmp_path / f"{name}-merged")
        expected[name] = answered(alone, posts_of(""))
    assert len({tuple(outputs) for outputs in expected.values()}) == 3, "the adapters change nothing"

    engine = VllmEngine(checkpoint, ENTRY, threads=1, adapters=folders)
    together = answered(engine, [post for name in ("", *RANKS) for post in posts_of(name)])
    engine.close()

    assert together == [output for name in ("", *RANKS) for output in expected[name]]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"r": 1024}, "adapter 'mine' has rank 1024, and vLLM serves 512 at most; merge it instead"),
        ({}, "adapter 'mine': .*adapter_config.json gives no rank"),
    ],
)
def test_an_adapter_that_cannot_be_served_is_refused(config: dict[str, int], said: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match=said):
        rank_bound({"mine": tmp_path})
