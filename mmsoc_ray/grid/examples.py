"""Few-shot examples of a plan: chosen on the driver, once for all models, from texts alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mmsoc_ray.data import Storage, read_texts
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.plan import GridPlan, ModelPlan, Question
from mmsoc_ray.tasks import Example, ExampleChooser, shots

_Wanted = tuple[str, str, str, int]
"""(dataset, task, variant, k): what tells the examples of two questions apart."""


def choose_examples(plan: GridPlan, data: Storage, phase: Callable[[str], None]) -> GridPlan:
    """Return the plan with the examples of every few-shot question; reads each fit split once, without its pictures.

    Raises:
        ConfigurationError: A fit split has fewer usable posts than a setting takes.
    """
    chosen: dict[_Wanted, tuple[Example, ...]] = {}
    for model in plan.models:
        for dataset, manifest in model.fit.items():
            wanted = {_wanted(q): q for q in model.questions_on(dataset) if shots(q.setting)}
            choosers = {
                key: ExampleChooser(q.definition, q.variant, shots(q.setting), plan.grid.seed)
                for key, q in wanted.items()
                if key not in chosen
            }
            if not choosers:
                continue
            phase(f"choosing examples from {dataset}/{manifest.split}")
            for post in read_texts(data, manifest):
                for chooser in choosers.values():
                    chooser.add(post)
            for key, chooser in choosers.items():
                chosen[key] = _enough(chooser.chosen(), key, manifest.split)
    return dataclasses.replace(plan, models=tuple(_with(model, chosen) for model in plan.models))


def _wanted(question: Question) -> _Wanted:
    return question.dataset, question.task, question.variant, shots(question.setting)


def _with(model: ModelPlan, chosen: dict[_Wanted, tuple[Example, ...]]) -> ModelPlan:
    questions = tuple(dataclasses.replace(q, examples=chosen.get(_wanted(q), ())) for q in model.questions)
    return dataclasses.replace(model, questions=questions)


def _enough(examples: tuple[Example, ...], wanted: _Wanted, split: str) -> tuple[Example, ...]:
    dataset, task, _, count = wanted
    if len(examples) < count:
        raise ConfigurationError(
            f"datasets.{dataset}.fit_split: {split!r} has {len(examples)} posts with a label that the task {task} "
            f"knows, and few_shot_{count} takes {count} of them. Take a smaller number or another fit_split."
        )
    return examples
