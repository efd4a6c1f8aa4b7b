"""Tiny checkpoints with random weights of every architecture that the registry names, made once per session."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.utils import is_torchvision_available

_ENGINES = runpy.run_path(str(Path(__file__).parents[2] / "engines" / "conftest.py"))
TEXT: dict[str, Any] = {**_ENGINES["TEXT"], "max_position_embeddings": 1024}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
QUERIES = 4
SIDE = 28


def _louder(*parts: torch.nn.Module) -> None:
    """Let pictures and words decide: with the default initialisation all answers are alike."""
    with torch.no_grad():
        for part in parts:
            for weights in part.parameters():
                if weights.ndim > 1:
                    weights.mul_(8)


def _tokenizer(*specials: str, **ends: str) -> Any:
    tokenizer = _ENGINES["train_tokenizer"](specials)
    tokenizer.padding_side = "left"
    return tokenizer


def _t5(tokenizer: Any) -> transformers.T5Config:
    return transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=tokenizer.eos_token_id,
    )


def _opt(tokenizer: Any) -> transformers.OPTConfig:
    return transformers.OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=1024,
        word_embed_proj_dim=32,
        bos_token_id=1,
        pad_token_id=0,
        eos_token_id=tokenizer.eos_token_id,
        init_std=0.4,
    )


def _llama(tokenizer: Any) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=2, bos_token_id=1, **TEXT)


def _blip_image_processor() -> Any:
    return transformers.BlipImageProcessor(size={"height": SIDE, "width": SIDE})


def save_blip2(folder: Path, language: Callable[[Any], Any]) -> None:
    tokenizer = _tokenizer("<image>")
    config = transformers.Blip2Config(
        vision_config={**VISION, "image_size": SIDE, "patch_size": 14},
        qformer_config={**VISION, "encoder_hidden_size": 32, "vocab_size": 40},
        text_config=language(tokenizer),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(4)
    model = transformers.Blip2ForConditionalGeneration(config)
    _louder(model.vision_model, model.qformer, model.language_projection)
    if config.is_encoder_decoder:
        _louder(model.language_model)
    model.save_pretrained(folder)
    transformers.Blip2Processor(_blip_image_processor(), tokenizer, num_query_tokens=QUERIES).save_pretrained(folder)


def save_instructblip(folder: Path, language: Callable[[Any], Any]) -> None:
    tokenizer = _tokenizer("<image>")
    words = _tokenizer()
    config = transformers.InstructBlipConfig(
        vision_config={**VISION, "image_size": SIDE, "patch_size": 14},
        qformer_config={**VISION, "encoder_hidden_size": 32, "vocab_size": len(words)},
        text_config=language(tokenizer),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(5)
    model = transformers.InstructBlipForConditionalGeneration(config)
    _louder(model.vision_model, model.qformer, model.language_projection)
    if config.is_encoder_decoder:
        _louder(model.language_model)
    model.save_pretrained(folder)
    transformers.InstructBlipProcessor(
        _blip_image_processor(), tokenizer, words, num_query_tokens=QUERIES
    ).save_pretrained(folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "blip2-opt": lambda folder: save_blip2(folder, _opt),
    "blip2-t5": lambda folder: save_blip2(folder, _t5),
    "instructblip-llama": lambda folder: save_instructblip(folder, _llama),
    "instructblip-t5": lambda folder: save_instructblip(folder, _t5),
    "llava": _ENGINES["save_llava_checkpoint"],
    "idefics3": _ENGINES["save_idefics3_checkpoint"],
}
