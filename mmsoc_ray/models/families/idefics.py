"""Idefics3 (arXiv 2408.12637) and its small successors SmolVLM (2504.05299): pictures cut into tiles."""

from __future__ import annotations

from mmsoc_ray.models.families.published import published

_SOURCE = "prompt: the checkpoint's chat template; decoding: greedy (our choice)"

ENTRIES = (
    published(
        "idefics3-8b",
        8.462,
        family="idefics3",
        checkpoint="HuggingFaceM4/Idefics3-8B-Llama3",
        architecture="Idefics3ForConditionalGeneration",
        several_pictures="transformers, Idefics3Model.forward: an arbitrary number of pictures",
        source=_SOURCE,
        licence="Apache-2.0",
    ),
    *(
        published(
            name,
            parameters_b,
            family="smolvlm",
            checkpoint=f"HuggingFaceTB/{checkpoint}",
            architecture="Idefics3ForConditionalGeneration",
            several_pictures="card of SmolVLM-Instruct: arbitrary sequences of pictures and texts",
            source=_SOURCE,
            licence="Apache-2.0",
        )
        for name, checkpoint, parameters_b in (
            ("smolvlm-256m", "SmolVLM-256M-Instruct", 0.256),
            ("smolvlm-500m", "SmolVLM-500M-Instruct", 0.507),
            ("smolvlm-2.2b", "SmolVLM-Instruct", 2.246),
        )
    ),
    *(
        published(
            name,
            parameters_b,
            family="smolvlm2",
            checkpoint=f"HuggingFaceTB/{checkpoint}",
            architecture="SmolVLMForConditionalGeneration",
            several_pictures="card of SmolVLM2-2.2B-Instruct: texts and pictures can be interleaved",
            source=_SOURCE,
            licence="Apache-2.0",
        )
        for name, checkpoint, parameters_b in (
            ("smolvlm2-256m", "SmolVLM2-256M-Video-Instruct", 0.256),
            ("smolvlm2-500m", "SmolVLM2-500M-Video-Instruct", 0.507),
            ("smolvlm2-2.2b", "SmolVLM2-2.2B-Instruct", 2.246),
        )
    ),
)
