"""One entry of the model registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

EngineName = Literal["transformers", "vllm", "endpoint", "baseline"]
Dtype = Literal["bfloat16", "float16", "float32"]


@dataclass(frozen=True)
class ModelEntry:
    """A model that a grid can name.

    Attributes:
        name: What a grid calls it, for example ``demo-llava``.
        family: Models that differ in size only share it.
        parameters_b: Parameters in billions.
        checkpoint: Folder, ``demo:<name>`` for a model assembled from packages, or hub id; empty for a baseline.
        revision: Pinned hub revision, or None where the checkpoint is a folder or assembled.
        engine: How it answers.
        sees_pictures: Whether pictures can be shown to it.
        settings: Settings that it can answer.
        dtype: ``auto`` is bfloat16 on GPUs and on CPUs with AMX, float32 on other CPUs, where bfloat16 is slower.
        prompt_template: ``chat`` uses the checkpoint's chat template; otherwise a format string with ``{image}`` and
            ``{prompt}``.
        batch_tokens: Bound on padded tokens of a batch (prompt and answer) in the transformers engine.
        max_picture_side: Pictures are downscaled to this before they reach the model (a preprocessing parameter).
        source: Where the defaults come from (model card, paper, our choice).
    """

    name: str
    family: str
    parameters_b: float
    engine: EngineName
    checkpoint: str = ""
    revision: str | None = None
    sees_pictures: bool = False
    settings: tuple[str, ...] = field(default=("zero_shot",))
    dtype: Dtype | Literal["auto"] = "auto"
    prompt_template: str = "chat"
    batch_tokens: int = 4096
    max_picture_side: int = 1024
    source: str = ""
