"""Qwen2-VL (arXiv 2409.12191), Qwen2.5-VL (2502.13923) and Qwen3-VL: pictures in their own resolution."""

from __future__ import annotations

from mmsoc_ray.models.families.published import published

_SOURCE = "prompt: the checkpoint's chat template; decoding: greedy (our choice)"
_APACHE = "Apache-2.0"

_FAMILIES = (
    (
        "Qwen2-VL",
        "Qwen2VLForConditionalGeneration",
        (("2B", 2.209, _APACHE), ("7B", 8.291, _APACHE), ("72B", 73.406, "")),
    ),
    (
        "Qwen2.5-VL",
        "Qwen2_5_VLForConditionalGeneration",
        (("3B", 3.755, ""), ("7B", 8.292, _APACHE), ("32B", 33.453, _APACHE), ("72B", 73.406, "")),
    ),
    (
        "Qwen3-VL",
        "Qwen3VLForConditionalGeneration",
        (("2B", 2.0, _APACHE), ("4B", 4.0, _APACHE), ("8B", 8.0, _APACHE), ("32B", 32.0, _APACHE)),
    ),
)

ENTRIES = tuple(
    published(
        f"{family}-{size}".lower(),
        parameters_b,
        family=family.lower(),
        checkpoint=f"Qwen/{family}-{size}-Instruct",
        architecture=architecture,
        source=_SOURCE,
        licence=licence,
    )
    for family, architecture, sizes in _FAMILIES
    for size, parameters_b, licence in sizes
)
