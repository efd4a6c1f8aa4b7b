"""What answers, resolved to digests: the part of a configuration that a model's checkpoint and decoding make up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmsoc_ray.engines.endpoint import check_endpoint
from mmsoc_ray.engines.vllm_start import check_vllm
from mmsoc_ray.grid.keys import digest
from mmsoc_ray.grid.plan import BASE_ADAPTER, ModelPlan, Question
from mmsoc_ray.invocation import refuse_vanishing
from mmsoc_ray.models import ModelEntry, checkpoint_digest, locate_weights
from mmsoc_ray.models.entry import Dtype
from mmsoc_ray.tasks import EXPLAIN, why_questions, with_examples


@dataclass(frozen=True)
class Answerer:
    """A model as one run uses it.

    Attributes:
        entry: The model.
        dtype: Precision in which it computes; None for a baseline and an endpoint.
        model_digest: Digest of the checkpoint's files; empty for a baseline and an endpoint.
        fit: For a baseline: dataset to the digest of the split that it is fitted on.
        seed: Seed of the ``random`` baseline.
        adapters: Name of each adapter that answers some of its questions, to its digest.
        merged: Whether its one adapter is merged into the checkpoint.
    """

    entry: ModelEntry
    dtype: Dtype | None
    model_digest: str
    fit: Mapping[str, str]
    seed: int
    adapters: Mapping[str, str] = field(default_factory=dict)
    merged: bool = False

    def content(self, dataset: str) -> dict[str, Any]:
        """Return what enters the keys of its answers on a dataset's posts."""
        if self.entry.engine == "baseline":
            return {"engine": "baseline", "model": self.entry.name, "fit": self.fit[dataset], "seed": self.seed}
        if self.entry.endpoint is not None:
            # Which weights answer there is not known: the address and the served name stand for them.
            return {
                "engine": self.entry.engine,
                "url": self.entry.endpoint.url,
                "model": self.entry.endpoint.served_model or self.entry.name,
                "preprocessing": {"max_picture_side": self.entry.max_picture_side},
                "decoding": self.entry.decoding.content(),
            }
        return {
            "engine": self.entry.engine,
            "model_digest": self.model_digest,
            "adapter_digest": next(iter(self.adapters.values())) if self.merged else None,
            "dtype": self.dtype,
            "quantisation": None,
            "prompt_template": self.entry.prompt_template,
            "preprocessing": {"max_picture_side": self.entry.max_picture_side},
            "decoding": self.entry.decoding.content(),
        }


def resolve_answerer(plan: ModelPlan, *, seed: int, weights: str | None = None) -> Answerer:
    """Resolve a planned model: find or make its checkpoint, and take its digest.

    Args:
        plan: The model's part of the grid.
        seed: Seed of the ``random`` baseline.
        weights: Root of the pulled weights, where the grid names one.

    Raises:
        ConfigurationError: Where the checkpoint cannot be had, or the engine is not there yet.
    """
    entry, fit = plan.entry, fit_digests(plan)
    if entry.engine == "baseline":
        return Answerer(entry, dtype=None, model_digest="", fit=fit, seed=seed)
    if entry.engine == "endpoint":
        check_endpoint(entry)
        return Answerer(entry, dtype=None, model_digest="", fit=fit, seed=seed)
    if entry.engine == "vllm":
        check_vllm(entry, on_gpu=plan.resources.gpus > 0)
    if weights is not None:
        refuse_vanishing("weights", weights)
        entry = locate_weights(entry, weights)
    return Answerer(
        entry,
        dtype=_planned_dtype(entry, gpus=plan.resources.gpus),
        model_digest=checkpoint_digest(entry),
        fit=fit,
        seed=seed,
        adapters={adapter.name: adapter.digest for adapter in plan.adapters},
        merged=plan.merged,
    )


def fit_digests(plan: ModelPlan) -> dict[str, str]:
    """Return, by dataset, the digest of what a baseline is fitted on.

    Texts that stand in the evaluated split are left out of the fit of ``tfidf_logreg``: that split counts, too.
    """
    if plan.entry.name != "tfidf_logreg":
        return {dataset: manifest.digest for dataset, manifest in plan.fit.items()}
    return {name: digest([manifest.digest, plan.datasets[name].digest]) for name, manifest in plan.fit.items()}


def configuration(plan: ModelPlan, answerer: Answerer, *, words_digest: str | None) -> dict[str, Any]:
    """Return all that shapes the units of a model's pipeline, as JSON: its hash names their folder.

    Args:
        plan: The model's part of the grid.
        answerer: The model, resolved.
        words_digest: Digest of the OCR engine, where a setting uses one.
    """
    datasets = {
        name: {
            "split": manifest.split,
            "digest": manifest.digest,
            "posts": plan.posts(name),
            "answerer": answerer.content(name),
        }
        for name, manifest in plan.datasets.items()
    }
    questions = [{**question_content(question), **_examples(question)} for question in plan.questions]
    uses_words = any(question.setting == "with_ocr" for question in plan.questions)
    return {
        "model": plan.entry.name,
        "adapter": plan.adapters[0].name if plan.merged else BASE_ADAPTER,
        "datasets": datasets,
        "questions": questions,
        "units": digest([[unit.unit_id, unit.posts] for unit in plan.units()]),
        "words": words_digest if uses_words else None,
    }


def question_content(question: Question) -> dict[str, Any]:
    """Return what a question asks, as JSON, but for the examples that it shows."""
    return {
        "task": question.task,
        "setting": question.setting,
        "dataset": question.dataset,
        "prompt": _asked(question),
        "max_new_tokens": question.max_new_tokens,
        **({"scored": dict(question.definition.answers)} if question.scored else {}),
        **own_labels(question),
        **adapter_content(question),
    }


def _asked(question: Question) -> str | dict[str, str]:
    """Return a question's prompt; of an explanation the questions by label."""
    if question.setting == EXPLAIN:
        return why_questions(question.definition, question.variant)
    return question.definition.question(question.variant)


def adapter_content(question: Question) -> dict[str, str]:
    """Return which adapter answers a question, as JSON; empty where the model does as it came."""
    adapter = question.adapter
    return {} if adapter is None else {"adapter": adapter.name, "adapter_digest": adapter.digest}


def _examples(question: Question) -> dict[str, Any]:
    shown = [
        [example.post_key, example.prompt, example.answer, *([example.image_sha256] if example.image_sha256 else [])]
        for example in question.examples
    ]
    pictures = [example.image_sha256 for example in question.examples if example.image_sha256]
    places = {"example_images": pictures, "places": list(with_examples("", question.examples)[1])} if pictures else {}
    return {"examples": digest(shown), **places} if shown else {}


def own_labels(question: Question) -> dict[str, Any]:
    """Return what of a task of the user's own a baseline answers with; how answers are read is no part of it."""
    own = question.own
    return {} if own is None else {"kind": own.kind, "answers": dict(own.answers)}


def _planned_dtype(entry: ModelEntry, *, gpus: float) -> Dtype:
    """Return the precision that every node of the run computes in, decided once so that keys agree.

    ``auto`` is bfloat16 on GPUs; on CPUs it is what this machine does well, and the nodes are taken to be like it.
    """
    known = entry.dtype_on(gpus)
    if known is not None:
        return known
    import torch

    from mmsoc_ray.engines.accelerator import choose_dtype

    return choose_dtype("auto", torch.device("cpu"))
