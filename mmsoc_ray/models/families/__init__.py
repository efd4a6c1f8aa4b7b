"""Published models, one module per family."""

from mmsoc_ray.models.entry import ModelEntry
from mmsoc_ray.models.families import blip, gemma, idefics, internvl, llava, qwen_vl, served

PUBLISHED: tuple[ModelEntry, ...] = (
    *llava.ENTRIES,
    *blip.ENTRIES,
    *qwen_vl.ENTRIES,
    *idefics.ENTRIES,
    *internvl.ENTRIES,
    *gemma.ENTRIES,
    *served.ENTRIES,
)
"""All of them. No revision is known here: each is resolved at the first fetch and recorded."""

__all__ = ["PUBLISHED"]
