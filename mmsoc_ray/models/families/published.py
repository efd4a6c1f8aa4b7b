"""What the entries of published checkpoints have in common."""

from __future__ import annotations

from typing import Any

from mmsoc_ray.models.entry import Decoding, ModelEntry

SETTINGS = ("zero_shot", "text_only", "image_only", "with_ocr")

BATCH_TOKENS = 16_384
"""Padded tokens of a batch on a GPU of 80 GB. Our choice, not measured on one; a grid overrides it."""

GPU_GB = 80
ROOM = 0.8
"""Share of a GPU's memory that weights may take; the rest is for keys, values and pictures. Our rule."""


def published(name: str, parameters_b: float, **fields: Any) -> ModelEntry:
    """Return the entry of a checkpoint that sees pictures and needs a GPU.

    GPUs follow from the weights in bfloat16; more than one means that layers are split. The engine is vllm wherever it
    can decode as the model does: it has all architectures of the registry that transformers has.
    """
    gpus = next(count for count in (1, 2, 4, 8) if 2 * parameters_b <= count * GPU_GB * ROOM)
    defaults: dict[str, Any] = {
        "engine": "vllm" if fields.get("decoding", Decoding()).takes_logits_as_they_are else "transformers",
        "sees_pictures": True,
        "settings": SETTINGS,
        "batch_tokens": BATCH_TOKENS,
        "gpus": gpus,
        "tensor_parallel": gpus,
    }
    return ModelEntry(name=name, parameters_b=parameters_b, **{**defaults, **fields})
