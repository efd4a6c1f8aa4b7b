"""How a model of a grid answers, where that differs from its registry entry."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mmsoc_ray.models.entry import Decoding


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DecodingChoice(_Strict):
    """How a model's answers are drawn, where that differs from its registry entry.

    Attributes:
        num_beams: Width of the beam search; 1 searches nothing.
        repetition_penalty: Divides the logits of tokens that the answer holds already; 1 is none.
        length_penalty: Exponent of the length by which a beam's score is divided.
        min_length: Prompt and answer together (in an encoder-decoder the answer) are at least so long.
        max_new_tokens: Answers are cut after so many tokens where the task of the grid says nothing.
        temperature: Divides the logits that tokens are sampled by; 0 is greedy.
        top_p: Sampled are only the likeliest tokens that hold this share of the probability together; 1 is all.
        top_k: Sampled are only so many of the likeliest tokens; 0 is all.
        seed: Another seed samples other answers.
    """

    num_beams: int | None = Field(default=None, ge=1, le=32)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    length_penalty: float | None = Field(default=None, ge=-10, le=10)
    min_length: int | None = Field(default=None, ge=0, le=4096)
    max_new_tokens: int | None = Field(default=None, ge=1, le=4096)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    seed: int | None = Field(default=None, ge=0)

    def applied_to(self, decoding: Decoding) -> Decoding:
        """Return a decoding with the fields that are chosen here.

        Raises:
            ValueError: They contradict each other, or those that stay.
        """
        return dataclasses.replace(decoding, **self.model_dump(exclude_none=True))


class EndpointChoice(_Strict):
    """The OpenAI-compatible server that answers for a model; see ``mmsoc_ray.models.Endpoint``."""

    url: str = Field(pattern=r"^https?://[^\s?#]+$")
    served_model: str = ""
    api_key_env: str = Field(default="", pattern="^([A-Za-z_][A-Za-z0-9_]*)?$")
    concurrency: int = Field(default=8, ge=1, le=256)
    requests_per_minute: float | None = Field(default=None, gt=0)


class VllmChoice(_Strict):
    """What vLLM's engine may take for a model, where that differs from its registry entry; see ``VllmLimits``."""

    implementation: Literal["auto", "vllm", "transformers"] | None = None
    memory_share: float | None = Field(default=None, gt=0, le=1)
    cpu_cache_gb: int | None = Field(default=None, ge=1)
    context_tokens: int | None = Field(default=None, ge=16)
    sequences: int | None = Field(default=None, ge=1, le=4096)
