"""InternVL3 (arXiv 2504.10479), in the checkpoints that transformers loads without code of their own.

The licence is what the cards of both kinds of checkpoints say, for example huggingface.co/OpenGVLab/InternVL3-78B.
"""

from __future__ import annotations

from mmsoc_ray.models.families.published import published

ENTRIES = tuple(
    published(
        f"internvl3-{size}".lower(),
        parameters_b,
        family="internvl3",
        checkpoint=f"OpenGVLab/InternVL3-{size}-hf",
        architecture="InternVLForConditionalGeneration",
        several_pictures="transformers, model_doc/internvl: its example of several pictures in a message",
        source="prompt: the checkpoint's chat template; decoding: greedy (our choice)",
        licence="MIT; its part of Qwen2.5: Qwen License",
    )
    for size, parameters_b in (
        ("1B", 0.938),
        ("2B", 2.089),
        ("8B", 7.944),
        ("14B", 15.117),
        ("38B", 38.388),
        ("78B", 78.408),
    )
)
