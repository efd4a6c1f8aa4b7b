"""LLaVA: vision encoder, projector, language model (v1.5, arXiv 2310.03744; 1.6; OneVision, arXiv 2408.03326).

Licences are those of the cards huggingface.co/llava-hf/llava-1.5-7b-hf, liuhaotian/llava-v1.6-mistral-7b and
llava-hf/llava-onevision-qwen2-0.5b-si-hf; where no card could be read, none is given.
"""

from __future__ import annotations

from mmsoc_ray.models.entry import Decoding
from mmsoc_ray.models.families.published import published

_FRAME = (
    "greedy (our choice: MM-Soc's LLaVA runner is not published; its arguments.py defaults to temperature 0.2 and to "
    "the conversation llava_v0, which is that of the first LLaVA), at most 128 tokens (its max_seq_length)"
)
_V15 = f"prompt: the checkpoint's chat template, 'USER: <image>\\n... ASSISTANT:' for LLaVA-v1.5; decoding: {_FRAME}"
_OWN = "prompt: the checkpoint's chat template; decoding: greedy (our choice)"
_SEVERAL_V15 = (
    "transformers, model_doc/llava: several pictures in a prompt are technically possible, but the model was not "
    "trained for them"
)
_SEVERAL_NEXT = "transformers, model_doc/llava_next: its example of inference with several pictures"
_SEVERAL_ONEVISION = "transformers, model_doc/llava_onevision: text conditioned on one or several pictures"

ENTRIES = (
    *(
        published(
            f"llava-1.5-{size}",
            parameters_b,
            family="llava-1.5",
            checkpoint=f"llava-hf/llava-1.5-{size}-hf",
            architecture="LlavaForConditionalGeneration",
            several_pictures=_SEVERAL_V15,
            decoding=Decoding(max_new_tokens=128),
            source=_V15,
            licence="Llama 2 Community License",
        )
        for size, parameters_b in (("7b", 7.063), ("13b", 13.351))
    ),
    *(
        published(
            f"llava-1.6-{size}",
            parameters_b,
            family="llava-1.6",
            checkpoint=f"llava-hf/llava-v1.6-{size}-hf",
            architecture="LlavaNextForConditionalGeneration",
            several_pictures=_SEVERAL_NEXT,
            source=_OWN,
            licence=licence,
        )
        for size, parameters_b, licence in (
            ("mistral-7b", 7.567, "Apache-2.0"),
            ("vicuna-7b", 7.063, ""),
            ("vicuna-13b", 13.351, ""),
            ("34b", 34.752, ""),
        )
    ),
    *(
        published(
            f"llava-onevision-{size}",
            parameters_b,
            family="llava-onevision",
            checkpoint=f"llava-hf/llava-onevision-qwen2-{size}-ov-hf",
            architecture="LlavaOnevisionForConditionalGeneration",
            several_pictures=_SEVERAL_ONEVISION,
            source=_OWN,
            licence=licence,
        )
        for size, parameters_b, licence in (("0.5b", 0.894, "Apache-2.0"), ("7b", 8.030, ""), ("72b", 73.181, ""))
    ),
)
