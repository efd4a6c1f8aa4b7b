"""Families that no engine loads in process: neither transformers nor vLLM has their architecture.

They answer through an OpenAI-compatible server that a user runs around the authors' own code (engine ``endpoint``).
"""

from __future__ import annotations

from mmsoc_ray.models.entry import Decoding
from mmsoc_ray.models.families.published import published

_NOTE = (
    "no engine loads it in process: serve the authors' code at an OpenAI-compatible address and name that in the grid "
    "(endpoint: {url: ...})"
)
_SAMPLED = (
    "prompt: the server's; decoding: greedy, at most 256 tokens (our choice; the MM-Soc author's runner, "
    "Ahren09/LLaMA-Adapter@82a92a5, samples with temperature 0.1 and top_p 0.75)"
)
_GREEDY = "prompt: the server's; decoding: greedy (our choice"

ENTRIES = (
    published(
        "llama-adapter-v2-7b",
        7.0,
        family="llama-adapter-v2",
        engine="endpoint",
        gpus=0,
        decoding=Decoding(max_new_tokens=256),
        source=_SAMPLED,
        note=f"{_NOTE} (checkpoint BIAS-7B of the LLaMA-Adapter repository)",
    ),
    *(
        published(
            name,
            parameters_b,
            family="minigpt-4",
            engine="endpoint",
            gpus=0,
            source=f"{_GREEDY})",
            note=f"{_NOTE} (repository Vision-CAIR/MiniGPT-4)",
        )
        for name, parameters_b in (("minigpt-4-7b", 7.0), ("minigpt-4-13b", 13.0))
    ),
    published(
        "mplug-owl2-7b",
        8.2,
        family="mplug-owl2",
        engine="endpoint",
        gpus=0,
        checkpoint="MAGAer13/mplug-owl2-llama2-7b",
        source=f"{_GREEDY}; the authors' example samples with temperature 0.7: X-PLUG/mPLUG-Owl@36b6b37, mPLUG-Owl2)",
        note=_NOTE,
    ),
)
