"""A recipe: how a model is fine-tuned, in YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mmsoc_ray.config.located_yaml import Location, load_located
from mmsoc_ray.config.names import Name

Method = Literal["lora", "rslora", "dora", "pissa", "lora_plus", "full", "projector"]
Target = Literal["answer", "answer_and_explanation", "explanation", "shuffled_explanation"]
LOW_RANK_METHODS: tuple[Method, ...] = ("lora", "rslora", "dora", "pissa", "lora_plus")

_SUFFIX = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")

NOT_IN_CONTENT = frozenset(
    {"workers", "gpus_per_worker", "cpus_per_worker", "threads", "micro_batch", "checkpoint_every", "explanations"}
)
"""Fields that do not say what is learnt; the explanations count by their digest, wherever they lie."""

_LOW_RANK_FIELDS = ("rank", "alpha", "dropout", "targets")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Optimizer(_Strict):
    """AdamW, as ``torch.optim.AdamW`` takes it.

    Attributes:
        name: Which optimiser; only this one.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the denominator.
        weight_decay: Decoupled decay of the weights.
    """

    name: Literal["adamw"] = "adamw"
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)


class Validation(_Strict):
    """What the training is checked on while it runs; exactly one of ``split`` and ``share``.

    Attributes:
        split: A split of the same datasets.
        share: Share of the posts of the training split that are held out instead, chosen by a hash of ``post_key``.
        posts: At most so many posts of each dataset are asked.
        every_steps: After how many steps each time.
        patience: The training stops after so many checks in a row without a better one; by default never.
    """

    split: Name | None = None
    share: float | None = Field(default=None, gt=0, lt=1)
    posts: int = Field(default=200, ge=1)
    every_steps: int = Field(ge=1)
    patience: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.split is None) == (self.share is None):
            raise ValueError("name either a split or a share of the training posts, not both and not neither")
        return self


class Recipe(_Strict):
    """A whole recipe, as its YAML file says it.

    Attributes:
        name: Name of the recipe; the adapters that it makes begin with it.
        base: The only model that it is for; by default any that a grid names.
        method: What is trained. ``lora``, ``rslora``, ``dora``, ``pissa`` and ``lora_plus`` are low-rank adapters,
            ``full`` is every weight, ``projector`` what lies between the picture encoder and the language model.
        rank: Rank of a low-rank adapter.
        alpha: Its scale: the update is multiplied by ``alpha / rank`` (by ``alpha / sqrt(rank)`` in ``rslora``).
        dropout: Dropout before a low-rank adapter.
        targets: Which layers get one: ``all_linear`` (those of the language model), ``attention`` (its attention's), or
            a list of ends of module names.
        lora_plus_ratio: Learning rate of the B matrices over that of the A matrices; only of ``lora_plus``.
        datasets: Only these datasets, by default all of the grid.
        tasks: Only these tasks, by default all of the grid that the model answers.
        split: The split that is learnt.
        limit: Only the first so many posts of each dataset.
        apart_from: A split of the same datasets: posts whose text stands there too, whatever its case and white space,
            are left out.
        validation: How the training is checked while it runs; by default not at all.
        target: What is learnt to be said; see ``mmsoc_ray.training.targets``.
        explanations: Parquet file of the explanations; by default ``explanations.parquet`` beside the split's shards.
        precision: Of the forward pass; ``auto`` is bfloat16 where the hardware has it, and float32 on a CPU.
        optimizer: The optimiser's own settings.
        learning_rate: Highest learning rate.
        schedule: How it falls after the warm-up.
        warmup: Share of the steps over which it rises from 0.
        clip_norm: Bound on the norm of the gradient; null for none.
        epochs: Passes over the data; this or ``steps``.
        steps: Optimiser steps; this or ``epochs``.
        batch: Samples of an optimiser step, over all workers.
        micro_batch: Samples of one forward pass of one worker; gradients are accumulated over the others.
        context_tokens: A sample of more tokens (prompt, pictures and answer) is left out and counted, never cut.
        seed: Seed of the order, of the adapter's first weights and of the dropout.
        checkpoint_every: Steps between checkpoints.
        gradient_checkpointing: Whether activations are computed again instead of kept.
        packing: Whether samples without pictures share rows; only where that is exact.
        shuffle_units: Units among whose samples the order is drawn.
        workers: Processes that train together; two numbers are the least and the most of an elastic training.
        gpus_per_worker: GPUs of each.
        cpus_per_worker: Logical CPUs of each.
        threads: Threads with which a worker on the CPU computes; by default as many as its CPUs.
        sharding: ``fsdp`` divides the weights among the workers, for models larger than one GPU.
    """

    name: Name
    base: Name | None = None
    method: Method = "lora"
    rank: int = Field(default=16, ge=1, le=4096)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all_linear", "attention"] | tuple[str, ...] = "all_linear"
    lora_plus_ratio: float = Field(default=16.0, ge=1)
    datasets: tuple[Name, ...] | None = Field(default=None, min_length=1)
    tasks: tuple[Name, ...] | None = Field(default=None, min_length=1)
    split: Name = "train"
    limit: int | None = Field(default=None, ge=1)
    apart_from: Name | None = None
    validation: Validation | None = None
    target: Target = "answer"
    explanations: str | None = Field(default=None, min_length=1)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    optimizer: Optimizer = Optimizer()
    learning_rate: float = Field(gt=0, le=1)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float | None = Field(default=1.0, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    batch: int = Field(ge=1)
    micro_batch: int = Field(default=1, ge=1)
    context_tokens: int = Field(default=2048, ge=8)
    seed: int = Field(default=0, ge=0, lt=2**63)
    checkpoint_every: int = Field(default=100, ge=1)
    gradient_checkpointing: bool = False
    packing: bool = False
    shuffle_units: int = Field(default=16, ge=1)
    workers: int | tuple[int, int] = 1
    gpus_per_worker: float = Field(default=0.0, ge=0)
    cpus_per_worker: float = Field(default=1.0, gt=0)
    threads: int | None = Field(default=None, ge=1)
    sharding: Literal["none", "fsdp"] = "none"

    @property
    def low_rank(self) -> bool:
        """Whether a low-rank adapter is trained."""
        return self.method in LOW_RANK_METHODS

    @property
    def explained(self) -> bool:
        """Whether explanations are learnt."""
        return self.target != "answer"

    @property
    def worker_range(self) -> tuple[int, int]:
        """The least and the most workers."""
        return self.workers if isinstance(self.workers, tuple) else (self.workers, self.workers)

    def content(self) -> dict[str, Any]:
        """Return what decides what is learnt, as JSON values: it enters the digest of an adapter.

        On how many workers and in which portions a step is computed decides nothing, and stays out.
        """
        return self.model_dump(mode="json", exclude=set(NOT_IN_CONTENT))

    @field_validator("targets", mode="before")
    @classmethod
    def _known_targets(cls, value: Any) -> Any:
        named = isinstance(value, list | tuple) and value and all(_is_suffix(part) for part in value)
        if not named and value not in ("all_linear", "attention"):
            raise ValueError(f"is all_linear, attention, or a list of ends of module names like q_proj, not {value!r}")
        return value

    @field_validator("workers", mode="before")
    @classmethod
    def _workers_in_order(cls, value: Any) -> Any:
        numbers = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(number, bool) or not isinstance(number, int) or number < 1 for number in numbers):
            raise ValueError("is a number of processes from 1, or two such numbers: [least, most]")
        if len(numbers) > 2 or list(numbers) != sorted(numbers):
            raise ValueError("is one number, or two in order: [least, most]")
        return value


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe.

    Raises:
        ConfigurationError: Naming file, line, field, value and what is allowed.
    """
    shape = "a recipe is a mapping with name, learning_rate, batch, epochs or steps, and more."
    return load_located(path, Recipe, shape, _problems)


def _problems(recipe: Recipe) -> Iterator[tuple[Location, str]]:
    """Yield what is wrong between fields: the field and what is wrong with it."""
    said = recipe.model_fields_set
    if recipe.epochs is None and recipe.steps is None:
        yield ("epochs",), "the recipe says not how long to train. Add this field, or steps."
    if recipe.epochs is not None and recipe.steps is not None:
        yield ("steps",), f"{recipe.epochs:g} epochs are named too. Keep one of the two."
    if recipe.micro_batch > recipe.batch:
        yield ("micro_batch",), f"{recipe.micro_batch} is more than the {recipe.batch} samples of a step."
    if recipe.worker_range[1] > recipe.batch:
        yield ("workers",), f"{recipe.worker_range[1]} workers cannot share the {recipe.batch} samples of a step."
    for field in () if recipe.low_rank else _LOW_RANK_FIELDS:
        if field in said:
            allowed = ", ".join(LOW_RANK_METHODS)
            yield (field,), f"the method {recipe.method} has none. Remove it, or take one of {allowed}."
    if "lora_plus_ratio" in said and recipe.method != "lora_plus":
        yield ("lora_plus_ratio",), f"the method is {recipe.method}. Remove it, or take the method lora_plus."
    if recipe.explanations is not None and not recipe.explained:
        yield ("explanations",), "the target answer learns none. Remove it, or take another target."
    if recipe.sharding == "fsdp" and recipe.worker_range[1] == 1:
        yield ("sharding",), "one worker has nobody to share with. Take more workers, or none."


def _is_suffix(part: Any) -> bool:
    return isinstance(part, str) and _SUFFIX.fullmatch(part) is not None
