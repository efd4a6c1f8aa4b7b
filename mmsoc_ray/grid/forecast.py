"""What a planned grid will take, given the runs below an output root."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mmsoc_ray.data import SplitManifest, Storage
from mmsoc_ray.grid.estimate import ModelEstimate, estimate_model
from mmsoc_ray.grid.known_cells import Known, KnownCells
from mmsoc_ray.grid.plan import GridPlan, ModelPlan, Question
from mmsoc_ray.grid.prompt_sizes import TextSizes, prompt_tokens, text_sizes
from mmsoc_ray.grid.reuse import ReusePolicy
from mmsoc_ray.grid.stats import JobStats, all_stats


@dataclass(frozen=True)
class Forecast:
    """What a grid will take, by the name of the model.

    Attributes:
        models: Estimates.
        known: What earlier runs hold of its cells.
    """

    models: Mapping[str, ModelEstimate]
    known: Mapping[str, Mapping[Question, Known]]


def forecast(
    plan: GridPlan, data: Storage, root: Storage, policy: ReusePolicy, note: Callable[[str], None]
) -> Forecast:
    """Estimate what a grid will take. Reads small files only: plans, statistics and the ends of shards.

    Args:
        plan: The grid.
        data: Root of the datasets.
        root: Output root, which need not be there.
        policy: Which answers of earlier runs will be taken over.
        note: Told of each file that cannot be read.
    """
    jobs = list(all_stats(root, note))
    cells = KnownCells(root, policy, note)
    known = {model.key: cells.of(model, seed=plan.grid.seed, weights=plan.grid.weights) for model in plan.models}
    models = {
        model.key: _estimate(model, data, jobs, functools.partial(_posts, known[model.key])) for model in plan.models
    }
    return Forecast(models, known)


def expectations(plan: GridPlan, data: Storage, root: Storage, note: Callable[[str], None]) -> dict[str, ModelEstimate]:
    """Return what the models of a run that is about to start will take where nothing is taken over."""
    jobs = list(all_stats(root, note))
    return {model.key: _estimate(model, data, jobs, lambda question: 0) for model in plan.models}


def _estimate(
    model: ModelPlan, data: Storage, jobs: Sequence[JobStats], reused: Callable[[Question], int]
) -> ModelEstimate:
    texts = functools.cache(lambda dataset: _text_sizes(data, model.datasets[dataset]))
    return estimate_model(model, jobs, lambda q: prompt_tokens(q, model.entry, texts(q.dataset)), reused)


def _posts(known: Mapping[Question, Known], question: Question) -> int:
    return known[question].posts if question in known else 0


def _text_sizes(data: Storage, manifest: SplitManifest) -> TextSizes:
    try:
        return text_sizes(data, manifest)
    except (OSError, LookupError, pa.ArrowException):  # whoever reads the shard says what is wrong with it
        return TextSizes()
