"""What a run will do: cells, units and requests, counted before anything is spent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmsoc_ray.config import Grid, ModelChoice, Recipe, Resources
from mmsoc_ray.data import SplitManifest, Storage, Unit, plan_units, read_manifest
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import Endpoint, ModelEntry, answerable, can_answer, checkpoint_address, get_model, model_names
from mmsoc_ray.models.own import own_entry, served_entry
from mmsoc_ray.tasks import Example, Task, get_task, is_finetuned, rounds, shots

BASE_ADAPTER = "none"
"""What stands in the column ``adapter`` where a model answers without one."""

BESIDE_BASE: Mapping[str, frozenset[str]] = {
    "transformers": frozenset(("lora", "rslora", "lora_plus", "pissa", "dora")),
    "vllm": frozenset(("lora", "rslora", "lora_plus", "pissa")),
}
"""Methods whose adapters an engine has beside the base model; the others answer merged into a checkpoint."""


@dataclass(frozen=True, order=True)
class Cell:
    """One cell of the grid: what one row of the compact table's columns stands for."""

    model: str
    adapter: str
    setting: str
    task: str
    dataset: str
    split: str

    @property
    def path(self) -> str:
        """Path of its scores below the run's folder."""
        return f"cells/{self.model}/{self.adapter}/{self.setting}/{self.task}/{self.dataset}/{self.split}.json"

    @property
    def identity(self) -> str:
        """One string for the cell; seeds its bootstrap."""
        return "/".join(dataclasses.astuple(self))


@dataclass(frozen=True)
class Adapter:
    """The trained weights that answer a question beside those of the model, or in their place.

    Attributes:
        name: Its folder below ``adapters/``; before it is known, the name of the recipe that trains it.
        digest: SHA-256 over its files; empty until it is trained.
    """

    name: str
    digest: str = ""


@dataclass(frozen=True)
class Question:
    """A task in a setting, as a model is asked it on one dataset.

    Attributes:
        task: Name of the task.
        setting: What the model is shown.
        dataset: Whose posts are asked about.
        variant: Which of the task's prompts.
        max_new_tokens: Answers are cut after so many tokens.
        examples: In ``few_shot_<k>``, once they are chosen: what stands before every prompt.
        own: The task, where it is not built in: it travels with the question to every worker.
        adapter: What answers in a fine-tuned setting; None where the model does as it came.
    """

    task: str
    setting: str
    dataset: str
    variant: str
    max_new_tokens: int
    scored: bool = False  # whether its labels get their probabilities too
    examples: tuple[Example, ...] = ()
    own: Task | None = None
    adapter: Adapter | None = None

    @property
    def definition(self) -> Task:
        """The task that is asked."""
        return self.own or get_task(self.task)

    @property
    def rounds(self) -> int:
        """How often each post is asked: more than once in ``self_improve_<k>``."""
        return rounds(self.setting)


@dataclass(frozen=True)
class ModelPlan:
    """All that one model's pipeline has to do.

    Attributes:
        entry: The model.
        resources: What its engine pool takes.
        questions: What it is asked; questions of one dataset are asked together on each of its posts.
        datasets: The splits that it answers on.
        fit: By dataset, the splits that a baseline is fitted on and that few-shot examples are taken from.
        limit: Only the first so many posts of each split.
        merged: Whether its one adapter is merged into the checkpoint, because no engine has it beside the base model.
    """

    entry: ModelEntry
    resources: Resources
    questions: tuple[Question, ...]
    datasets: Mapping[str, SplitManifest]
    fit: Mapping[str, SplitManifest]
    limit: int | None
    merged: bool = False

    @property
    def key(self) -> str:
        """What tells it from the other pipelines of a run: the model, and the setting whose adapter is merged."""
        return f"{self.entry.name}@{self.questions[0].setting}" if self.merged else self.entry.name

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The adapters that answer its questions."""
        return tuple(dict.fromkeys(question.adapter for question in self.questions if question.adapter))

    def questions_on(self, dataset: str) -> tuple[Question, ...]:
        """Return the questions that are asked on a dataset's posts."""
        return tuple(question for question in self.questions if question.dataset == dataset)

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks of its questions by name."""
        return {question.task: question.definition for question in self.questions}

    def units(self) -> list[Unit]:
        """Return the units of all its datasets."""
        return [unit for manifest in self.datasets.values() for unit in plan_units(manifest, limit=self.limit)]

    def longest_first(self, units: Iterable[Unit]) -> list[Unit]:
        """Return units in the order of the answers that they may take, most first, so that no long one ends a run."""
        tokens = {
            dataset: sum(question.rounds * question.max_new_tokens for question in self.questions_on(dataset))
            for dataset in self.datasets
        }
        return sorted(units, key=lambda unit: -unit.posts * tokens[unit.dataset])

    def posts(self, dataset: str) -> int:
        """Return how many posts of a dataset it is asked about."""
        posts = self.datasets[dataset].posts
        return posts if self.limit is None else min(posts, self.limit)

    def cells(self) -> dict[Cell, int]:
        """Return its cells, each with its number of posts."""
        return {self.cell(question): self.posts(question.dataset) for question in self.questions}

    def cell(self, question: Question) -> Cell:
        """Return the cell that a question is."""
        return Cell(
            model=self.entry.name,
            adapter=question.adapter.name if question.adapter else BASE_ADAPTER,
            setting=question.setting,
            task=question.task,
            dataset=question.dataset,
            split=self.datasets[question.dataset].split,
        )

    @property
    def requests(self) -> int:
        """Number of questions over all posts, every round counted."""
        return sum(self.posts(question.dataset) * question.rounds for question in self.questions)

    def requests_per_post(self, dataset: str) -> int:
        """Return how many rows each post of a dataset has."""
        return sum(question.rounds for question in self.questions_on(dataset))


@dataclass(frozen=True)
class GridPlan:
    """What a run of a grid will do, model by model.

    Attributes:
        grid: The grid.
        models: Its models.
        limit: Only the first so many posts of each split.
        example_pictures: Files of the example pictures by their digests, once examples are chosen.
    """

    grid: Grid
    models: tuple[ModelPlan, ...]
    limit: int | None
    example_pictures: Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False)

    def cells(self) -> dict[Cell, int]:
        """Return all cells, each with its number of posts."""
        return {cell: posts for model in self.models for cell, posts in model.cells().items()}


def plan_grid(grid: Grid, data: Storage, *, limit: int | None = None) -> GridPlan:
    """Plan a grid over prepared data. Reads manifests only.

    Args:
        grid: The grid, validated.
        data: Root of the datasets.
        limit: Only the first so many posts of each split.

    Raises:
        ConfigurationError: Where a split or shard is missing, or a task has no dataset with targets for it.
    """
    if limit is not None and limit < 1:
        raise ConfigurationError(f"--limit {limit}: give a number of posts of at least 1.")
    manifests = {
        name: read_manifest(data, name, choice.split or grid.defaults.split) for name, choice in grid.datasets.items()
    }
    offers = {task: _datasets_of(grid, task, manifests) for task in grid.tasks}
    models = [_plan_model(grid, data, name, choice, manifests, offers, limit) for name, choice in grid.models.items()]
    return GridPlan(grid=grid, models=tuple(part for model in models for part in _pipelines(grid, model)), limit=limit)


def _datasets_of(grid: Grid, task: str, manifests: Mapping[str, SplitManifest]) -> tuple[str, ...]:
    wanted = grid.tasks[task].datasets
    for name in wanted or ():
        if not manifests[name].tasks.get(task):
            raise ConfigurationError(
                f"tasks.{task}.datasets: {name}/{manifests[name].split} has no targets for {task}. "
                f"It has: {', '.join(manifests[name].tasks)}."
            )
    found = tuple(
        name for name, manifest in manifests.items() if manifest.tasks.get(task) and name in (wanted or manifests)
    )
    if not found:
        splits = ", ".join(f"{name}/{manifest.split}" for name, manifest in manifests.items())
        raise ConfigurationError(
            f"tasks: no dataset of the grid has targets for {task!r} (datasets: {splits}). "
            f"Remove the task or add a dataset."
        )
    for name in found:
        manifest = manifests[name]
        if manifest.tasks[task] != manifest.posts:
            raise ConfigurationError(
                f"datasets.{name}: {manifest.tasks[task]} of {manifest.posts} posts of the split {manifest.split} have "
                f"a target for {task}. Prepare the split so that all of its posts have one."
            )
    return found


def _plan_model(
    grid: Grid,
    data: Storage,
    name: str,
    choice: ModelChoice,
    manifests: Mapping[str, SplitManifest],
    offers: Mapping[str, tuple[str, ...]],
    limit: int | None,
) -> ModelPlan:
    resources = choice.resources or grid.defaults.resources
    entry = _entry(name, choice, gpus=resources.gpus)
    settings = choice.settings or tuple(s for s in grid.defaults.settings if can_answer(entry, s))
    if not settings:
        raise ConfigurationError(
            f"models.{name}.settings: {name} can answer in none of the default settings "
            f"({', '.join(grid.defaults.settings)}). Allowed: {', '.join(answerable(entry))}."
        )
    own = {task: grid.own_task(task) for task in grid.tasks}
    questions = tuple(
        Question(
            task=task,
            setting=setting,
            dataset=dataset,
            variant=grid.tasks[task].prompt,
            max_new_tokens=answer_limit(grid, entry, task),
            scored=grid.tasks[task].scored,
            own=own[task],
            adapter=Adapter(grid.recipe(name, setting).name) if is_finetuned(setting) else None,
        )
        for setting in settings
        for task in grid.tasks
        if task in (choice.tasks or grid.tasks) and _can_be_asked(entry, own[task] or get_task(task))
        for dataset in offers[task]
    )
    if not questions:
        raise ConfigurationError(
            f"models.{name}: {name} answers tasks of the kind {' or '.join(entry.kinds)} only, and the grid asks it "
            f"none. Leave it out, or add such a task."
        )
    datasets = {dataset: manifests[dataset] for dataset in manifests if any(q.dataset == dataset for q in questions)}
    fit = {
        dataset: read_manifest(data, dataset, grid.datasets[dataset].fit_split or grid.defaults.fit_split)
        for dataset in datasets
        if entry.engine == "baseline" or any(q.dataset == dataset and shots(q.setting) for q in questions)
    }
    for question in questions:
        if shots(question.setting):
            _check_examples(question, datasets[question.dataset], fit[question.dataset])
    return ModelPlan(entry, resources, questions, datasets, fit, limit)


def _can_be_asked(entry: ModelEntry, task: Task) -> bool:
    return not entry.kinds or task.kind in entry.kinds


def answer_limit(grid: Grid, entry: ModelEntry, task: str) -> int:
    """Return after how many tokens a model's answers to a task are cut: as the grid says, the model, or the task."""
    definition = grid.own_task(task) or get_task(task)
    return grid.tasks[task].max_new_tokens or entry.decoding.max_new_tokens or definition.max_new_tokens


def without_adapters(plan: GridPlan) -> GridPlan:
    """Return the plan as far as models answer as they came."""
    models = (
        dataclasses.replace(model, questions=tuple(q for q in model.questions if q.adapter is None))
        for model in plan.models
    )
    return dataclasses.replace(plan, models=tuple(model for model in models if model.questions))


def _pipelines(grid: Grid, model: ModelPlan) -> Iterator[ModelPlan]:
    """Yield what one engine answers: the base model with the adapters that it takes, and each other adapter merged."""
    tuned = {question.setting for question in model.questions if question.adapter}
    apart = {setting for setting in tuned if not _beside_base(model.entry, grid.recipe(model.entry.name, setting))}
    for setting in (None, *sorted(apart)):
        questions = tuple(q for q in model.questions if (q.setting if q.setting in apart else None) == setting)
        if questions:
            kept = {q.dataset for q in questions}
            yield dataclasses.replace(
                model,
                questions=questions,
                datasets={name: manifest for name, manifest in model.datasets.items() if name in kept},
                fit={name: manifest for name, manifest in model.fit.items() if name in kept},
                merged=setting is not None,
            )


def _beside_base(entry: ModelEntry, recipe: Recipe) -> bool:
    """Whether an engine has an adapter of a recipe beside the base model.

    vLLM has none of a picture encoder, which layers that are named one by one may belong to.
    """
    named = isinstance(recipe.targets, tuple) and entry.sees_pictures and entry.engine == "vllm"
    return recipe.method in BESIDE_BASE[entry.engine] and not named


def _check_examples(question: Question, asked: SplitManifest, fit: SplitManifest) -> None:
    """Refuse few-shot examples out of the evaluated split, or of a split with too few posts."""
    where = f"datasets.{question.dataset}.fit_split: {fit.split!r}"
    if fit.split == asked.split:
        raise ConfigurationError(
            f"{where} is also the split that is evaluated, and {question.setting} would show its answers. Name another "
            f"fit_split."
        )
    there = fit.tasks.get(question.task, 0)
    if there < shots(question.setting):
        raise ConfigurationError(
            f"{where} has {there} posts with a target for {question.task}, and {question.setting} takes "
            f"{shots(question.setting)} of them. Take a smaller number or another fit_split."
        )


def _entry(name: str, choice: ModelChoice, *, gpus: float) -> ModelEntry:
    """Return a model as the grid wants it; vLLM answers where the grid says so, or has GPUs for a model that it can."""
    if choice.checkpoint is None and name not in model_names():
        entry = served_entry(name)
    elif choice.checkpoint is None:
        entry = get_model(name)
    elif name in model_names():
        entry = dataclasses.replace(get_model(name), checkpoint=checkpoint_address(choice.checkpoint))
    else:
        entry = own_entry(name, choice.checkpoint, settings=choice.settings)
    overrides: dict[str, Any] = {
        field: value
        for field in ("engine", "family", "parameters_b", "dtype", "prompt_template", "batch_tokens")
        if (value := getattr(choice, field)) is not None
    }
    if choice.engine is None and entry.engine == "vllm" and not gpus:
        overrides["engine"] = "transformers"
    if choice.vllm is not None:
        overrides["vllm"] = dataclasses.replace(entry.vllm, **choice.vllm.model_dump(exclude_none=True))
    if choice.decoding is not None:
        overrides["decoding"] = choice.decoding.applied_to(entry.decoding)
    if choice.several_pictures is not None:
        overrides["several_pictures"] = "the grid says so" if choice.several_pictures else ""
    if choice.endpoint is not None:
        overrides["endpoint"] = Endpoint(**choice.endpoint.model_dump())
    return dataclasses.replace(entry, **overrides)
