"""How a model answers: one small protocol, and the engines behind it.

``open_engine`` imports an engine's libraries when it is called, so that planning and the command line start fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmsoc_ray.engines.baseline import BUILT_IN_KINDS, BaselineFit, MajorityEngine, RandomEngine, fit_baseline
from mmsoc_ray.engines.ocr import MAX_READ_SIDE, PictureReader
from mmsoc_ray.engines.protocol import PROMPT_ERROR, Answer, Engine, Picture, PreparedPost, PromptError, Request
from mmsoc_ray.engines.versions import engine_version
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.entry import ModelEntry

__all__ = [
    "MAX_READ_SIDE",
    "PROMPT_ERROR",
    "Answer",
    "BaselineFit",
    "Engine",
    "MajorityEngine",
    "Picture",
    "PictureReader",
    "PreparedPost",
    "PromptError",
    "RandomEngine",
    "Request",
    "engine_version",
    "fit_baseline",
    "open_engine",
]


def open_engine(
    entry: ModelEntry,
    checkpoint: Path | None = None,
    *,
    threads: int | None = None,
    device: str | None = None,
    adapters: Mapping[str, Path] | None = None,
    fit: BaselineFit | None = None,
    answers: Mapping[str, Mapping[str, str]] | None = None,
    kinds: Mapping[str, str] = BUILT_IN_KINDS,
    seed: int = 0,
) -> Engine:
    """Load the engine that a registry entry names.

    Args:
        entry: The model; a baseline is told by its name, ``majority`` or ``random``.
        checkpoint: Folder of the weights; None for a baseline.
        threads: CPU threads of the engines transformers and vllm.
        device: Device of the transformers engine; None takes the first GPU, or the CPU.
        adapters: Folders of adapters by name, for the engines transformers and vllm; ``Request.adapter`` chooses.
        fit: What a baseline was fitted on.
        answers: For a baseline: classification task to label to answer word.
        kinds: For a baseline: task to its kind.
        seed: Of the baseline ``random``.

    Raises:
        ConfigurationError: The engine is not there yet, or what it needs was not given or cannot be loaded.
    """
    if entry.loads_weights:
        if checkpoint is None:
            raise ConfigurationError(f"model {entry.name!r}: the {entry.engine} engine needs a checkpoint folder")
        if entry.engine == "vllm":
            from mmsoc_ray.engines.vllm import VllmEngine

            return VllmEngine(checkpoint, entry, threads=threads, adapters=adapters)
        from mmsoc_ray.engines.transformers import TransformersEngine

        return TransformersEngine(checkpoint, entry, threads=threads, device=device, adapters=adapters)
    if entry.engine == "baseline":
        if fit is None or answers is None:
            raise ConfigurationError(f"model {entry.name!r}: a baseline needs a fit and the answer words of its tasks")
        if entry.name == "majority":
            return MajorityEngine(fit, answers, kinds)
        if entry.name == "random":
            return RandomEngine(fit, answers, seed, kinds)
        raise ConfigurationError(f"unknown baseline {entry.name!r}: the baselines are majority, random, tfidf_logreg")
    if entry.engine == "endpoint":
        from mmsoc_ray.engines.endpoint import EndpointEngine

        return EndpointEngine(entry)
    raise ConfigurationError(f"model {entry.name!r}: there is no engine {entry.engine!r}")
