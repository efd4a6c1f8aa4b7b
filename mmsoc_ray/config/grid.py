"""A grid: which models answer which tasks on which datasets in which settings, in YAML."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from mmsoc_ray.config.engine_choices import DecodingChoice, EndpointChoice, VllmChoice
from mmsoc_ray.config.grid_training import UNTRAINABLE, FinetunedSetting, Recipes, training_problems
from mmsoc_ray.config.located_yaml import Location, load_located
from mmsoc_ray.config.mapping import SourceMapping, mapping_problems
from mmsoc_ray.config.names import Name
from mmsoc_ray.config.recipe import Recipe
from mmsoc_ray.config.task_file import TaskFile, load_task_file
from mmsoc_ray.errors import ConfigurationError, unknown_name
from mmsoc_ray.models import answerable, can_answer, get_model, model_names
from mmsoc_ray.models.entry import Decoding, EngineName
from mmsoc_ray.tasks import TASKS, ParsePolicy, Task, check_setting, is_finetuned


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(_Strict):
    """What one model's engine pool takes of the cluster.

    Attributes:
        actors: Engines side by side, each with the whole model.
        cpus: Logical CPUs of each.
        gpus: GPUs of each; a fraction shares one.
        threads: Threads with which an engine on the CPU computes; by default the node's cores over the actors.
        no_progress_timeout_s: A pool of which nothing is heard for so many seconds hangs, and is replaced. More than an
            engine takes to load, to answer one unit and to write it.
    """

    actors: int = Field(default=1, ge=1)
    cpus: float = Field(default=1.0, ge=0)
    gpus: float = Field(default=0.0, ge=0)
    threads: int | None = Field(default=None, ge=1)
    no_progress_timeout_s: float = Field(default=900.0, gt=0)


class DatasetChoice(_Strict):
    """Which splits of a dataset are used.

    Attributes:
        split: What is evaluated.
        fit_split: What the baselines are fitted on, and where few-shot examples come from.
        source: Where the dataset is prepared from, where nobody prepared it before: a folder, ``s3://`` or ``hf://``.
        mapping: What becomes what then; its ``dataset`` is the name here.
    """

    split: Name | None = None
    fit_split: Name | None = None
    source: str | None = None
    mapping: SourceMapping | None = None


class TaskChoice(_Strict):
    """How a task is asked.

    Attributes:
        file: For a task of one's own: its YAML file. A relative path is taken from the grid's folder.
        prompt: Named variant of the task's prompt.
        max_new_tokens: Answers are cut after so many tokens; by default what the task says.
        datasets: Only these datasets, by default all that have targets for the task.
        scored: Whether every label of the task gets its probability beside the generated answer.
        parse_policy: How tolerantly answers are read, by default that of ``defaults``.
    """

    file: str | None = None
    prompt: str = "official"
    max_new_tokens: int | None = Field(default=None, ge=1, le=4096)
    datasets: tuple[Name, ...] | None = Field(default=None, min_length=1)
    scored: bool = False
    parse_policy: ParsePolicy | None = None


class ModelChoice(_Strict):
    """How a model takes part.

    Attributes:
        settings: Settings to answer in, by default those of ``defaults`` that the model can answer.
        tasks: Only these tasks, by default all of the grid.
        resources: Overrides of ``defaults.resources``.
        checkpoint: Folder of the checkpoint, or ``s3://`` address of pulled weights: for a model of the registry
            instead of its own, else of a model that the registry does not know.
        engine: How it answers. By default a model of the registry is answered for by vllm where vLLM can and the engine
            has a GPU, and by transformers otherwise; a folder of one's own by transformers.
        family: Family shown in the table, by default the model's name.
        parameters_b: Parameters in billions shown in the table.
        dtype: Precision, by default that of the registry.
        prompt_template: ``chat``, or a format string with ``{image}`` and ``{prompt}``.
        batch_tokens: Bound on the padded tokens that a batch computes.
        several_pictures: Whether it reads several pictures in a prompt, so that few-shot examples show theirs.
        endpoint: Server that answers for it.
        decoding: How answers are drawn; fields that are left out stay as the registry has them (greedy).
        vllm: What the engine ``vllm`` may take.
        training: Recipes of its fine-tuned settings, where they are not the grid's.
    """

    settings: tuple[str, ...] | None = Field(default=None, min_length=1)
    tasks: tuple[str, ...] | None = Field(default=None, min_length=1)
    resources: Resources | None = None
    checkpoint: str | None = None
    engine: EngineName | None = None
    family: str | None = None
    parameters_b: float | None = Field(default=None, ge=0)
    dtype: str | None = Field(default=None, pattern="^(auto|bfloat16|float16|float32)$")
    prompt_template: str | None = None
    batch_tokens: int | None = Field(default=None, ge=1)
    several_pictures: bool | None = None
    endpoint: EndpointChoice | None = None
    decoding: DecodingChoice | None = None
    vllm: VllmChoice | None = None
    training: dict[FinetunedSetting, str] | None = Field(default=None, min_length=1)


class Defaults(_Strict):
    """What holds where a model or dataset says nothing else."""

    split: Name = "test"
    fit_split: Name = "train"
    settings: tuple[str, ...] = Field(default=("zero_shot",), min_length=1)
    resources: Resources = Resources()
    parse_policy: ParsePolicy = "lenient"


class BertScoreChoice(_Strict):
    """With which encoder free text is scored by BERTScore.

    Attributes:
        encoder: Folder of the encoder.
        layer: Hidden layer whose embeddings are compared, from 1.
    """

    encoder: str
    layer: int = Field(ge=1)


class Grid(_Strict):
    """A whole grid, as its YAML file says it.

    Attributes:
        name: Name of the grid.
        data: Folder or ``s3://`` prefix with the prepared datasets; ``demo`` is the demo data, built on first use. A
            relative folder is taken from where the command runs.
        datasets: Datasets by name.
        tasks: Tasks by name; a plain list takes each as it is.
        models: Models by name; a plain list takes each as it is.
        defaults: What holds where nothing else is said.
        weights: Folder or ``s3://`` prefix with the pulled weights (``mmsoc models pull``) of the registry's models.
        bertscore: Encoder of ``bertscore_f1``; without it free text has no such metric.
        training: For each fine-tuned setting the file of its recipe. A relative path is taken from the grid's folder.
        notes: Lines shown beneath the results table.
        seed: Seed of the ``random`` baseline and of the choice of few-shot examples.
    """

    name: Name
    data: str
    datasets: dict[Name, DatasetChoice] = Field(min_length=1)
    tasks: dict[str, TaskChoice] = Field(min_length=1)
    models: dict[Name, ModelChoice] = Field(min_length=1)
    defaults: Defaults = Defaults()
    weights: str | None = Field(default=None, min_length=1)
    bertscore: BertScoreChoice | None = None
    training: dict[FinetunedSetting, str] = {}
    notes: tuple[str, ...] = ()
    seed: int = 0
    _own_tasks: dict[str, TaskFile] = PrivateAttr(default_factory=dict)
    _recipes: Recipes = PrivateAttr(default_factory=dict)
    _whole: Grid | None = PrivateAttr(default=None)

    @property
    def own_tasks(self) -> dict[str, TaskFile]:
        """Tasks of its own by name, as their files say them."""
        return {name: file for name, file in self._own_tasks.items() if name in self.tasks}

    def own_task(self, name: str) -> Task | None:
        """Return a task of its own; None for one that is built in."""
        return self._own_tasks[name].task() if name in self._own_tasks else None

    def parse_policy(self, task: str) -> ParsePolicy:
        """Return how tolerantly the answers to one of its tasks are read."""
        return self.tasks[task].parse_policy or self.defaults.parse_policy

    def recipe(self, model: str, setting: str) -> Recipe:
        """Return the recipe by which a model is fine-tuned for a setting.

        Raises:
            KeyError: The grid names none.
        """
        own = self._recipes.get((model, setting))
        return own or self._recipes[None, setting]

    @property
    def whole(self) -> Grid:
        """The grid before it was narrowed: what a recipe without tasks learns does not depend on what is asked now."""
        return self._whole or self

    @field_validator("datasets", mode="before")
    @classmethod
    def _mappings_named(cls, value: Any) -> Any:
        """Let the mapping of a dataset go without its name."""
        if not isinstance(value, dict):
            return value
        return {
            name: {**choice, "mapping": {"dataset": name, **choice["mapping"]}}
            if isinstance(choice, dict) and isinstance(choice.get("mapping"), dict)
            else choice
            for name, choice in value.items()
        }

    @field_validator("datasets", "tasks", "models", mode="before")
    @classmethod
    def _list_as_mapping(cls, value: Any) -> Any:
        if isinstance(value, list):
            nested = next((name for name in value if isinstance(name, dict | list)), None)
            if nested is not None:
                raise ValueError(f"a list holds plain names; write a mapping (no hyphens) to say more of one: {nested}")
            repeated = {str(name) for name in value if value.count(name) > 1}
            if repeated:
                raise ValueError(f"{', '.join(sorted(repeated))} stands twice in the list")
            return {name: {} for name in value}
        if isinstance(value, dict):
            return {name: {} if choice is None else choice for name, choice in value.items()}
        return value


def load_grid(path: Path) -> Grid:
    """Read and validate a grid file.

    Raises:
        ConfigurationError: Naming file, line, field, value and what is allowed.
    """
    shape = "a grid is a mapping with name, data, datasets, tasks and models."
    return load_located(path, Grid, shape, functools.partial(_problems, folder=path.parent))


def narrow(grid: Grid, *, models: tuple[str, ...] | None = None, tasks: tuple[str, ...] | None = None) -> Grid:
    """Return the grid with only some of its models and tasks.

    Raises:
        ConfigurationError: For a name that the grid does not hold.
    """
    for name in models or ():
        if name not in grid.models:
            raise unknown_name("model", name, grid.models, where="--models")
    for name in tasks or ():
        if name not in grid.tasks:
            raise unknown_name("task", name, grid.tasks, where="--tasks")
    kept_tasks = {name: choice for name, choice in grid.tasks.items() if tasks is None or name in tasks}
    kept_models = {}
    for name, choice in grid.models.items():
        if models is not None and name not in models:
            continue
        if choice.tasks is not None:
            left = tuple(task for task in choice.tasks if task in kept_tasks)
            if not left:
                continue
            choice = choice.model_copy(update={"tasks": left})
        kept_models[name] = choice
    if not kept_models:
        raise ConfigurationError("--models and --tasks leave nothing of the grid: no model answers a chosen task.")
    narrowed = grid.model_copy(update={"models": kept_models, "tasks": kept_tasks})
    if narrowed != grid:
        narrowed._whole = grid.whole
    return narrowed


def _problems(grid: Grid, folder: Path) -> Iterator[tuple[Location, str]]:
    """Yield what no schema can see: the field and what is wrong with it."""
    for setting in grid.defaults.settings:
        yield from _setting_problem(("defaults", "settings"), setting)
    for dataset, dataset_choice in grid.datasets.items():
        yield from _dataset_problems(grid, dataset, dataset_choice, folder)
    for task, choice in grid.tasks.items():
        if choice.file is not None:
            yield from _read_task(grid, task, folder / choice.file)
        yield from _task_problems(grid, task, choice)
    for model, model_choice in grid.models.items():
        yield from _model_problems(grid, model, model_choice)
    yield from training_problems(grid, folder, grid._recipes)


def _dataset_problems(grid: Grid, name: str, choice: DatasetChoice, folder: Path) -> Iterator[tuple[Location, str]]:
    location = ("datasets", name)
    if choice.mapping is None:
        if choice.source is not None:
            yield (*location, "source"), "without a mapping nobody knows how to read it. Add one, or remove the source."
        return
    if choice.source is None:
        yield (*location, "mapping"), "maps nothing. Name the source: a folder, s3://BUCKET/PREFIX or hf://."
    if choice.mapping.dataset != name:
        yield (*location, "mapping", "dataset"), f"the grid calls it {name!r}. Remove the field."
    if grid.data == "demo":
        yield ("data",), f"{name} cannot be prepared among the demo data. Name a folder."
    for within, message in mapping_problems(choice.mapping, folder):
        yield (*location, "mapping", *within), message


def _read_task(grid: Grid, name: str, path: Path) -> Iterator[tuple[Location, str]]:
    """Take a task of one's own into the grid, or yield why it cannot be taken."""
    try:
        grid._own_tasks[name] = load_task_file(path, name)
    except ConfigurationError as error:
        yield ("tasks", name, "file"), str(error)


def _task_problems(grid: Grid, name: str, choice: TaskChoice) -> Iterator[tuple[Location, str]]:
    location = ("tasks", name)
    if choice.file is None and name not in TASKS:
        own = f"A task of your own names its file in tasks.{name}.file."
        yield location, f"{unknown_name('task', name, TASKS)} {own}"
        return
    variants = ("official", *(TASKS[name].variants if choice.file is None else ()))
    if choice.prompt not in variants:
        yield (*location, "prompt"), str(unknown_name("variant of the prompt", choice.prompt, variants))
    definition = grid.own_task(name) or TASKS.get(name)
    if choice.scored and definition is not None and not definition.labels:
        labelled = ", ".join(task.name for task in TASKS.values() if task.labels)
        yield (
            (*location, "scored"),
            f"{name} has no labels whose probability could be told. Remove it; with: {labelled}.",
        )
    for dataset in choice.datasets or ():
        if dataset not in grid.datasets:
            yield (*location, "datasets"), str(unknown_name("dataset", dataset, grid.datasets))


def _model_problems(grid: Grid, name: str, choice: ModelChoice) -> Iterator[tuple[Location, str]]:
    location = ("models", name)
    if choice.checkpoint is None and choice.endpoint is None and name not in model_names():
        own = f"A model of your own names the folder of its checkpoint in models.{name}.checkpoint."
        yield location, f"{unknown_name('model', name, model_names())} {own}"
        return
    for task in choice.tasks or ():
        if task not in grid.tasks:
            yield (*location, "tasks"), str(unknown_name("task of this grid", task, grid.tasks))
    known = get_model(name) if name in model_names() else None
    engine = choice.engine or (known.engine if known else _own_engine(choice))
    if choice.decoding is not None and engine == "baseline":
        yield (*location, "decoding"), f"{name} is a baseline, which decodes nothing. Remove the field."
    elif choice.decoding is not None:
        yield from _decoding_problem((*location, "decoding"), choice.decoding, known.decoding if known else Decoding())
    if choice.endpoint is not None and engine != "endpoint":
        yield (*location, "endpoint"), f"{name} answers with the engine {engine}. Set engine: endpoint, or remove it."
    if choice.training is not None and engine in UNTRAINABLE:
        yield (*location, "training"), f"{name} {UNTRAINABLE[engine]}. Remove the field."
    for setting in choice.settings or ():
        problem = next(_setting_problem((*location, "settings"), setting), None)
        if problem is not None:
            yield problem
        elif is_finetuned(setting) and engine in UNTRAINABLE:
            yield (*location, "settings"), f"{name} {UNTRAINABLE[engine]}: it cannot be fine-tuned. Remove {setting}."
        elif known is not None and not can_answer(known, setting):
            allowed = ", ".join(answerable(known))
            yield (*location, "settings"), f"{name} cannot answer in the setting {setting!r}. Allowed: {allowed}."


def _decoding_problem(location: Location, choice: DecodingChoice, known: Decoding) -> Iterator[tuple[Location, str]]:
    try:
        choice.applied_to(known)
    except ValueError as error:
        yield location, f"{error}."


def _own_engine(choice: ModelChoice) -> EngineName:
    return "transformers" if choice.endpoint is None else "endpoint"


def _setting_problem(location: Location, setting: str) -> Iterator[tuple[Location, str]]:
    try:
        check_setting(setting)
    except ValueError as error:
        yield location, str(error)
