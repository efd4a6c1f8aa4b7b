"""BLIP-2 (arXiv 2301.12597) and InstructBLIP (2305.06500): a Q-Former between a frozen encoder and a language model.

Licences: BLIP-2's is that of the card huggingface.co/Salesforce/blip2-opt-2.7b; InstructBLIP's that of its authors'
repository (github.com/salesforce/LAVIS, projects/instructblip/README.md). Sizes with Flan-T5 count its output layer
beside its embeddings, which the published weights keep apart (transformers ties the two in a new model).
"""

from __future__ import annotations

from mmsoc_ray.models.entry import Decoding
from mmsoc_ray.models.families.published import published

PROMPT = "Question: {prompt} Answer:"
"""MM-Soc's wrapper for both families (``blip.py`` of claws-lab/MMSoc@ac09d6c). The processor puts the picture first."""

BEAMS = Decoding(num_beams=5, repetition_penalty=1.5, length_penalty=1.0, min_length=1, max_new_tokens=128)
"""MM-Soc's call of ``generate`` (the same file); its ``top_p`` and ``temperature`` do nothing without sampling. In its
transformers, 4.42.3, a decoder-only language model was given embeddings alone, so that the penalty saw the answer and
not the prompt. An earlier commit (5ab879a) is greedy; we take HEAD. It loads float32, or 8 bits on request; ``dtype:
float32`` in a grid gives the former."""

_SOURCE = "prompt and decoding: claws-lab/MMSoc@ac09d6c, blip.py"

ENTRIES = (
    *(
        published(
            f"blip2-{size}",
            parameters_b,
            family="blip2",
            checkpoint=f"Salesforce/blip2-{size}",
            architecture="Blip2ForConditionalGeneration",
            prompt_template=PROMPT,
            decoding=BEAMS,
            source=_SOURCE,
            licence="MIT",
        )
        for size, parameters_b in (
            ("opt-2.7b", 3.745),
            ("opt-6.7b-coco", 7.753),
            ("flan-t5-xl", 3.942),
            ("flan-t5-xxl", 12.230),
        )
    ),
    *(
        published(
            f"instructblip-{size}",
            parameters_b,
            family="instructblip",
            checkpoint=f"Salesforce/instructblip-{size}",
            architecture="InstructBlipForConditionalGeneration",
            prompt_template=PROMPT,
            decoding=BEAMS,
            source=_SOURCE,
            licence="research use only" + (", LLaMA's and Vicuna's licences" if "vicuna" in size else ""),
        )
        for size, parameters_b in (
            ("vicuna-7b", 7.913),
            ("vicuna-13b", 14.191),
            ("flan-t5-xl", 4.023),
            ("flan-t5-xxl", 12.310),
        )
    ),
)
