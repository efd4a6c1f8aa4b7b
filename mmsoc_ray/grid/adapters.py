"""The adapters that a plan's fine-tuned settings need: which they are, which exist, and the training of the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmsoc_ray.config import Grid, Recipe
from mmsoc_ray.data import SplitManifest, Storage, read_manifest
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.plan import Adapter, GridPlan, ModelPlan, answer_limit
from mmsoc_ray.invocation import refuse_vanishing
from mmsoc_ray.models import ModelEntry, checkpoint_digest, known_digest, locate_weights
from mmsoc_ray.tasks import Task, get_task
from mmsoc_ray.training import AdapterCard, TrainedTask, TrainingJob, check_base, read_card
from mmsoc_ray.training.targets import explanations_digest, read_explanations

Train = Callable[[TrainingJob], AdapterCard]


@dataclass(frozen=True)
class NeededAdapter:
    """What answers a model's questions in a fine-tuned setting.

    Attributes:
        model: Name of the model.
        setting: The setting.
        recipe: How it is trained.
        job: Its training; None where the model's checkpoint is not known yet, and with it the adapter's name.
        card: What is stored of it; None before it is trained.
    """

    model: str
    setting: str
    recipe: Recipe
    job: TrainingJob | None
    card: AdapterCard | None = None

    @property
    def adapter(self) -> Adapter:
        """The adapter, as questions name it."""
        name = self.recipe.name if self.job is None else self.job.name
        return Adapter(name, self.card.digest if self.card else "")


def needed_adapters(plan: GridPlan, data: Storage, root: Storage, *, resolve: bool) -> list[NeededAdapter]:
    """Return the adapters of a plan, each with its card where it is trained already. Trains nothing.

    Args:
        plan: The grid's plan.
        data: Root of the datasets.
        root: Output root, which keeps the adapters.
        resolve: Make or find each model's checkpoint where its digest is not known yet.

    Raises:
        ConfigurationError: Training data are missing, or what would be learnt is also what is evaluated; a checkpoint
            cannot be had; a card is damaged.
    """
    found: list[NeededAdapter] = []
    for model in plan.models:
        for setting in dict.fromkeys(question.setting for question in model.questions if question.adapter):
            recipe = plan.grid.recipe(model.entry.name, setting)
            job = _job(plan.grid, model, recipe, data, resolve=resolve)
            card = None if job is None else read_card(root, job.name)
            if job is not None and card is not None:
                check_base(card, job.base_digest, model=model.entry.name)
            found.append(NeededAdapter(model.entry.name, setting, recipe, job, card))
    return found


def with_adapters(plan: GridPlan, adapters: Sequence[NeededAdapter]) -> GridPlan:
    """Return the plan with the names and digests of its adapters, as far as they are known."""
    known = {(needed.model, needed.setting): needed.adapter for needed in adapters}

    def named(model: ModelPlan) -> ModelPlan:
        questions = tuple(
            dataclasses.replace(q, adapter=known[model.entry.name, q.setting]) if q.adapter else q
            for q in model.questions
        )
        return dataclasses.replace(model, questions=questions)

    return dataclasses.replace(plan, models=tuple(map(named, plan.models)))


def settle_adapters(plan: GridPlan, data: Storage, root: Storage, train: Train | None) -> GridPlan:
    """Return the plan with all of its adapters trained: before a run is opened, so that the two never share a GPU.

    Args:
        plan: The grid's plan.
        data: Root of the datasets.
        root: Output root, which keeps the adapters.
        train: Trains an adapter that is missing; None where none may be trained.

    Raises:
        ConfigurationError: As ``needed_adapters``; or adapters are missing and may not be trained.
    """
    needed = needed_adapters(plan, data, root, resolve=True)
    missing = [one for one in needed if one.card is None]
    if missing and train is None:
        names = ", ".join(f"{one.adapter.name} ({one.setting} of {one.model})" for one in missing)
        raise ConfigurationError(
            f"{root.uri}/adapters lacks {names}. Add --with-training, and the run trains them first (or take "
            f"jobs/finetune_grid.py), or leave the settings out."
        )
    trained: dict[str, AdapterCard] = {}
    for one in missing:
        if train is not None and one.job is not None and one.job.name not in trained:
            trained[one.job.name] = train(one.job)
    settled = [dataclasses.replace(one, card=one.card or trained[one.adapter.name]) for one in needed]
    return with_adapters(plan, settled)


def _job(grid: Grid, model: ModelPlan, recipe: Recipe, data: Storage, *, resolve: bool) -> TrainingJob | None:
    tasks, splits = _taught(grid, model, recipe, data)
    validation = (
        {}
        if recipe.validation is None or recipe.validation.split is None
        else {
            name: _not_evaluated(model, read_manifest(data, name, recipe.validation.split), recipe, "is validated on")
            for name in splits
        }
    )
    entry = _with_weights(model.entry, grid.weights, resolve=resolve)
    base_digest = checkpoint_digest(entry) if resolve else known_digest(entry)
    if base_digest is None:
        return None
    return TrainingJob(
        recipe=recipe,
        entry=entry,
        base_digest=base_digest,
        data_uri=data.uri,
        splits=splits,
        tasks=tasks,
        validation_splits=validation,
        explanations={
            name: explanations_digest(read_explanations(recipe, data, [(name, split.split)]))
            for name, split in splits.items()
            if recipe.explained
        },
        apart={
            name: read_manifest(data, name, recipe.apart_from).digest
            for name in splits
            if recipe.apart_from is not None
        },
    )


def _taught(
    grid: Grid, model: ModelPlan, recipe: Recipe, data: Storage
) -> tuple[dict[str, tuple[TrainedTask, ...]], dict[str, SplitManifest]]:
    """Return the tasks that are learnt on each dataset, and the splits: those of the whole grid that have targets."""
    whole = grid.whole
    names = recipe.tasks or whole.models[model.entry.name].tasks or tuple(whole.tasks)
    tasks: dict[str, tuple[TrainedTask, ...]] = {}
    splits: dict[str, SplitManifest] = {}
    for dataset in recipe.datasets or tuple(whole.datasets):
        manifest = read_manifest(data, dataset, recipe.split)
        asked = [name for name in names if dataset in (whole.tasks[name].datasets or (dataset,))]
        taught = tuple(_taught_task(whole, model.entry, name) for name in asked if manifest.tasks.get(name))
        if taught:
            splits[dataset] = _not_evaluated(model, manifest, recipe, "learns")
            tasks[dataset] = taught
    if not tasks:
        where = ", ".join(f"{dataset}/{recipe.split}" for dataset in recipe.datasets or whole.datasets)
        raise ConfigurationError(
            f"recipe {recipe.name}: {where} have no targets for {', '.join(names)}: there is nothing to learn. Name "
            f"another split, or prepare it with targets."
        )
    return tasks, splits


def _taught_task(grid: Grid, entry: ModelEntry, name: str) -> TrainedTask:
    definition: Task = grid.own_task(name) or get_task(name)
    return TrainedTask(definition, grid.tasks[name].prompt, answer_limit(grid, entry, name))


def _not_evaluated(model: ModelPlan, manifest: SplitManifest, recipe: Recipe, does: str) -> SplitManifest:
    asked = model.datasets.get(manifest.dataset)
    if asked is not None and asked.split == manifest.split:
        raise ConfigurationError(
            f"recipe {recipe.name} {does} {manifest.dataset}/{manifest.split}, which is also the split that is "
            f"evaluated: the model would have seen the answers. Name another split in the recipe or in the grid."
        )
    return manifest


def _with_weights(entry: ModelEntry, weights: str | None, *, resolve: bool) -> ModelEntry:
    if weights is None:
        return entry
    refuse_vanishing("weights", weights)
    try:
        return locate_weights(entry, weights)
    except ConfigurationError:
        if resolve:
            raise
        return entry  # a run says what is missing; the plan goes without


def summary(adapters: Sequence[NeededAdapter]) -> list[Mapping[str, object]]:
    """Return the adapters of a plan as JSON values."""
    return [
        {
            "adapter": one.adapter.name,
            "model": one.model,
            "setting": one.setting,
            "recipe": one.recipe.name,
            "method": one.recipe.method,
            "trained": one.card is not None,
            "base_known": one.job is not None,
        }
        for one in adapters
    ]
