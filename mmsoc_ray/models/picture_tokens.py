"""How many tokens of a prompt a picture takes, where that is published."""

from __future__ import annotations

from mmsoc_ray.models.entry import ModelEntry

_FIXED: dict[str, int] = {
    "demo-llava": 65,  # 8 x 8 patches of DINOv2 at 112 pixels, and the class token
    "llava-1.5": 576,  # 24 x 24 patches at 336 pixels, arXiv 2310.03744
    "llava-1.6": 2880,  # at most: the whole picture and four tiles of 576, as its blog of January 2024 says
    "llava-onevision": 7290,  # at most: the whole picture and nine tiles of 729, arXiv 2408.03326
    "blip2": 32,  # queries of the Q-Former, arXiv 2301.12597
    "instructblip": 32,  # likewise, arXiv 2305.06500
    "gemma-3": 256,  # arXiv 2503.19786
    "internvl3": 3328,  # at most: twelve tiles and a thumbnail of 256 each, arXiv 2504.10479
}

_PIXELS_A_SIDE: dict[str, int] = {"qwen2-vl": 28, "qwen2.5-vl": 28, "qwen3-vl": 32}
"""Families whose tokens each stand for a square of so many pixels a side (arXiv 2409.12191, 2502.13923; of Qwen3-VL:
patches of 16 pixels, merged two by two, by the defaults of its configuration in transformers)."""


def picture_tokens(entry: ModelEntry) -> int | None:
    """Return how many tokens of a prompt a picture takes, at most where that depends on it; None where not known."""
    if not entry.sees_pictures:
        return 0
    if entry.family in _PIXELS_A_SIDE:
        return (entry.max_picture_side // _PIXELS_A_SIDE[entry.family]) ** 2
    return _FIXED.get(entry.family)
