"""Gemma 3 (arXiv 2503.19786)."""

from __future__ import annotations

from mmsoc_ray.models.families.published import published

ENTRIES = tuple(
    published(
        f"gemma-3-{size}",
        parameters_b,
        family="gemma-3",
        checkpoint=f"google/gemma-3-{size}-it",
        architecture="Gemma3ForConditionalGeneration",
        several_pictures="transformers, model_doc/gemma3: takes several pictures",
        source="prompt: the checkpoint's chat template; decoding: greedy (our choice)",
        licence="Gemma Terms of Use",
        note="the hub gives it only to accounts that accepted its terms",
    )
    for size, parameters_b in (("4b", 4.300), ("12b", 12.187), ("27b", 27.432))
)
