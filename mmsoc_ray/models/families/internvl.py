"""InternVL3 (arXiv 2504.10479), in the checkpoints that transformers loads without code of their own."""

from __future__ import annotations

from mmsoc_ray.models.families.published import published

ENTRIES = tuple(
    published(
        f"internvl3-{size}".lower(),
        parameters_b,
        family="internvl3",
        checkpoint=f"OpenGVLab/InternVL3-{size}-hf",
        architecture="InternVLForConditionalGeneration",
        source="prompt: the checkpoint's chat template; decoding: greedy (our choice)",
    )
    for size, parameters_b in (("1B", 1.0), ("2B", 2.0), ("8B", 8.0), ("14B", 14.0), ("38B", 38.0), ("78B", 78.0))
)
