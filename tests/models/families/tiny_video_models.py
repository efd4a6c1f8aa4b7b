"""Tiny checkpoints of architectures that see videos too, laid out in files as the hub has them.

Their processors are not saved by the library here: it makes them with torchvision only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from tiny_parts import CHAT_TEMPLATE, QUERIES, SIDE, TEXT, VISION, llama, make_tokenizer, randomise

TILES = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
PIXELS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
FRAME = {"vision_start": "<|vision_start|>", "image": "<|image_pad|>", "vision_end": "<|vision_end|>"}
QWEN_VISION: dict[str, dict[str, Any]] = {
    "Qwen2VL": {"embed_dim": 32, "mlp_ratio": 2},
    "Qwen2_5_VL": {"intermediate_size": 64, "out_hidden_size": 32, "window_size": 56, "fullatt_block_indexes": [1]},
    "Qwen3VL": {
        "intermediate_size": 64,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
    },
}


def _save(folder: Path, model: Any, tokenizer: Any, image_token: str, picture: dict[str, Any], **whole: Any) -> None:
    """Write weights, tokenizer, chat template and the two files from which a processor is made."""
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.chat_template = CHAT_TEMPLATE.replace("<image>", image_token)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PIXELS, **picture}))
    if whole:
        (folder / "processor_config.json").write_text(json.dumps(whole))


def save_qwen_vl(folder: Path, version: str) -> None:
    tokenizer = make_tokenizer(*FRAME.values(), "<|video_pad|>")
    config = getattr(transformers, f"{version}Config")(
        text_config={
            **TEXT,
            "head_dim": 8,
            "vocab_size": len(tokenizer),
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
            "pad_token_id": 0,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": 1,
        },
        vision_config={"depth": 2, "num_heads": 4, "patch_size": 14, "hidden_size": 32, **QWEN_VISION[version]},
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in FRAME.items()},
    )
    model = getattr(transformers, f"{version}ForConditionalGeneration")(config)
    randomise(model, 8)
    picture = {
        "image_processor_type": "Qwen2VLImageProcessor" + ("Fast" if version == "Qwen3VL" else ""),
        "processor_class": f"{version}Processor",
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 4 * SIDE**2, "longest_edge": 16 * SIDE**2},
    }
    _save(folder, model, tokenizer, "".join(FRAME.values()), picture)


def save_smolvlm2(folder: Path) -> None:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = make_tokenizer(
        *tiles,
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        end_of_utterance_token="<end_of_utterance>",
        global_image_token="<global-img>",
    )
    config = transformers.SmolVLMConfig(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
        vision_config={**VISION, "image_size": 2 * SIDE, "patch_size": 14},
        text_config=llama(tokenizer),
    )
    model = transformers.SmolVLMForConditionalGeneration(config)
    randomise(model, 9)
    picture = {
        "image_processor_type": "SmolVLMImageProcessor",
        "size": {"longest_edge": 4 * SIDE},
        "max_image_size": {"longest_edge": 2 * SIDE},
    }
    _save(folder, model, tokenizer, "<image>", picture, processor_class="SmolVLMProcessor", image_seq_len=QUERIES)


def save_llava_onevision(folder: Path) -> None:
    tokenizer = make_tokenizer("<image>", "<video>")
    config = transformers.LlavaOnevisionConfig(
        vision_config=transformers.SiglipVisionConfig(**VISION, image_size=SIDE, patch_size=14),
        text_config=transformers.Qwen2Config(
            vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=2, bos_token_id=1, **TEXT
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=TILES,
        vision_aspect_ratio="anyres_max_9",
    )
    model = transformers.LlavaOnevisionForConditionalGeneration(config)
    randomise(model, 10)
    _save(
        folder,
        model,
        tokenizer,
        "<image>",
        {
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "size": {"height": SIDE, "width": SIDE},
            "image_grid_pinpoints": TILES,
        },
        processor_class="LlavaOnevisionProcessor",
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )


def save_internvl3(folder: Path) -> None:
    tokenizer = make_tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = transformers.InternVLConfig(
        vision_config={**VISION, "image_size": [2 * SIDE, 2 * SIDE], "patch_size": [14, 14]},
        text_config=transformers.Qwen2Config(
            vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=2, bos_token_id=1, **TEXT
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=QUERIES,
        tie_word_embeddings=False,
    )
    model = transformers.InternVLForConditionalGeneration(config)
    randomise(model, 11)
    picture = {
        "image_processor_type": "GotOcr2ImageProcessorFast",
        "size": {"height": 2 * SIDE, "width": 2 * SIDE},
        "max_patches": 4,
    }
    _save(
        folder,
        model,
        tokenizer,
        "<IMG_CONTEXT>",
        picture,
        processor_class="InternVLProcessor",
        image_seq_length=QUERIES,
    )
