"""Tiny checkpoints with random weights, one of every architecture that the registry names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_video_models
import transformers
from tiny_parts import CHAT_TEMPLATE, ENGINES, QUERIES, SIDE, TEXT, VISION, llama, make_tokenizer, randomise


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


def _blip_image_processor() -> Any:
    return transformers.BlipImageProcessor(size={"height": SIDE, "width": SIDE})


def save_blip2(folder: Path, language: Callable[[Any], Any]) -> None:
    tokenizer = make_tokenizer("<image>")
    config = transformers.Blip2Config(
        vision_config={**VISION, "image_size": SIDE, "patch_size": 14},
        qformer_config={**VISION, "encoder_hidden_size": 32, "vocab_size": 40},
        text_config=language(tokenizer),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = transformers.Blip2ForConditionalGeneration(config)
    randomise(model, 4)
    model.save_pretrained(folder)
    transformers.Blip2Processor(_blip_image_processor(), tokenizer, num_query_tokens=QUERIES).save_pretrained(folder)


def save_instructblip(folder: Path, language: Callable[[Any], Any]) -> None:
    tokenizer = make_tokenizer("<image>")
    words = make_tokenizer()
    config = transformers.InstructBlipConfig(
        vision_config={**VISION, "image_size": SIDE, "patch_size": 14},
        qformer_config={**VISION, "encoder_hidden_size": 32, "vocab_size": len(words)},
        text_config=language(tokenizer),
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = transformers.InstructBlipForConditionalGeneration(config)
    randomise(model, 5)
    model.save_pretrained(folder)
    transformers.InstructBlipProcessor(
        _blip_image_processor(), tokenizer, words, num_query_tokens=QUERIES
    ).save_pretrained(folder)


def save_llava_next(folder: Path) -> None:
    tokenizer = make_tokenizer("<image>")
    grid = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = transformers.LlavaNextConfig(
        vision_config=transformers.CLIPVisionConfig(
            **{**VISION, "num_hidden_layers": 3}, image_size=SIDE, patch_size=14
        ),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grid,
        vision_feature_layer=-2,
    )
    model = transformers.LlavaNextForConditionalGeneration(config)
    randomise(model, 6)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    transformers.LlavaNextProcessor(
        image_processor=transformers.LlavaNextImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=grid
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)


def save_gemma3(folder: Path) -> None:
    tokenizer = make_tokenizer(
        image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    config = transformers.Gemma3Config(
        vision_config={**VISION, "image_size": SIDE, "patch_size": 7},
        text_config={
            **TEXT,
            "vocab_size": len(tokenizer),
            "head_dim": 8,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "pad_token_id": 0,
            "eos_token_id": tokenizer.eos_token_id,
            "tie_word_embeddings": False,
        },
        tie_word_embeddings=False,
        mm_tokens_per_image=QUERIES,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
    )
    model = transformers.Gemma3ForConditionalGeneration(config)
    randomise(model, 7)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    transformers.Gemma3Processor(
        image_processor=transformers.Gemma3ImageProcessor(size={"height": SIDE, "width": SIDE}),
        tokenizer=tokenizer,
        image_seq_length=QUERIES,
        chat_template=CHAT_TEMPLATE.replace("<image>", "<start_of_image>"),
    ).save_pretrained(folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "llava-1.5-7b": ENGINES["save_llava_checkpoint"],
    "llava-1.6-vicuna-7b": save_llava_next,
    "blip2-opt-2.7b": lambda folder: save_blip2(folder, _opt),
    "blip2-flan-t5-xl": lambda folder: save_blip2(folder, _t5),
    "instructblip-vicuna-7b": lambda folder: save_instructblip(folder, llama),
    "instructblip-flan-t5-xl": lambda folder: save_instructblip(folder, _t5),
    "idefics3-8b": ENGINES["save_idefics3_checkpoint"],
    "gemma-3-4b": save_gemma3,
    "qwen2-vl-2b": lambda folder: tiny_video_models.save_qwen_vl(folder, "Qwen2VL"),
    "qwen2.5-vl-3b": lambda folder: tiny_video_models.save_qwen_vl(folder, "Qwen2_5_VL"),
    "qwen3-vl-2b": lambda folder: tiny_video_models.save_qwen_vl(folder, "Qwen3VL"),
    "smolvlm2-256m": tiny_video_models.save_smolvlm2,
    "llava-onevision-0.5b": tiny_video_models.save_llava_onevision,
    "internvl3-1b": tiny_video_models.save_internvl3,
}
"""By a model of the registry that stands for the architecture; where the language model matters, one for each."""
