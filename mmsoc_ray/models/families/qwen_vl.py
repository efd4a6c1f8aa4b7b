"""Qwen2-VL (arXiv 2409.12191), Qwen2.5-VL (2502.13923) and Qwen3-VL: pictures in their own resolution.

Licences differ by size: of Qwen2-VL, 2B and 7B are under Apache-2.0 and 72B under the Qwen License (README of
github.com/QwenLM/Qwen2-VL); of Qwen2.5-VL, 3B is under the Qwen Research License and 72B under the Qwen License.
"""

from __future__ import annotations

from mmsoc_ray.models.families.published import published

_SOURCE = "prompt: the checkpoint's chat template; decoding: greedy (our choice)"
_SEVERAL = "cards of Qwen2-VL and Qwen2.5-VL, multi-image inference; that Qwen3-VL is alike was not checked"
_APACHE = "Apache-2.0"
_QWEN = "Qwen License"

_FAMILIES = (
    (
        "Qwen2-VL",
        "Qwen2VLForConditionalGeneration",
        (("2B", 2.209, _APACHE), ("7B", 8.291, _APACHE), ("72B", 73.406, _QWEN)),
    ),
    (
        "Qwen2.5-VL",
        "Qwen2_5_VLForConditionalGeneration",
        (
            ("3B", 3.755, "Qwen Research License (not for commercial use)"),
            ("7B", 8.292, _APACHE),
            ("32B", 33.453, _APACHE),
            ("72B", 73.406, _QWEN),
        ),
    ),
    (
        "Qwen3-VL",
        "Qwen3VLForConditionalGeneration",
        (("2B", 2.128, _APACHE), ("4B", 4.438, _APACHE), ("8B", 8.767, _APACHE), ("32B", 33.357, _APACHE)),
    ),
)

ENTRIES = tuple(
    published(
        f"{family}-{size}".lower(),
        parameters_b,
        family=family.lower(),
        checkpoint=f"Qwen/{family}-{size}-Instruct",
        architecture=architecture,
        several_pictures=_SEVERAL,
        source=_SOURCE,
        licence=licence,
    )
    for family, architecture, sizes in _FAMILIES
    for size, parameters_b, licence in sizes
)
