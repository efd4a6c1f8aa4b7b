"""The stream of steps: what a worker learns in each step, made ahead of it by tasks of Ray Data, or in its process.

A row of the stream is a portion: the steps that begin in one window of the order. A task reads the units of a portion
once, makes the samples of one worker and yields its steps as they are ready. Rows stay in order, so a stream that
begins at a later step gives the rest of the whole one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import Post, open_storage, read_unit
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import ModelEntry, resolve_checkpoint
from mmsoc_ray.training.order import Place, Portion
from mmsoc_ray.training.plan import FeedPlan, nothing_to_learn
from mmsoc_ray.training.samples import LeftOutError, Sample, SampleMaker

PREPARE_CPUS = 1.0
PORTIONS_AT_ONCE = 2
"""Tasks that make samples for one worker at a time: one goes on while the other's samples are learnt."""
_BLOCK_BYTES = 1
"""A block is closed behind every row: the first step of a portion does not wait for the last."""


@dataclass(frozen=True)
class StepBatch:
    """What one worker learns in one step.

    Attributes:
        step: The step, from 0, over all epochs.
        epoch: Its epoch, from 0.
        micro_batches: Inputs of the model for each forward pass, see ``SampleMaker.collate``; none where every sample
            was left out, or a short last step has none for this worker.
        samples: How many samples they hold.
        answer_tokens: How many tokens of them are scored.
        left_out: Why to how many of the worker's samples of this step are not in them.
    """

    step: int
    epoch: int
    micro_batches: list[dict[str, torch.Tensor]]
    samples: int
    answer_tokens: int
    left_out: Mapping[str, int]


def step_batches(
    plan: FeedPlan, *, start_step: int = 0, rank: int = 0, workers: int = 1, streamed: bool = True
) -> Iterator[StepBatch]:
    """Yield the steps of a worker from ``start_step`` to the end of the training.

    Args:
        plan: What is learnt.
        start_step: First step.
        rank: Number of this worker.
        workers: How many there are.
        streamed: Whether tasks of Ray Data make them ahead; else they are made in this process when they are asked for.

    Raises:
        OSError: A shard cannot be read.
        ConfigurationError: The checkpoint cannot be read.
    """
    portions = plan.order.portions(start_step, plan.total_steps - 1)
    if streamed:
        yield from _streamed(plan, portions, rank, workers)
    else:
        for portion in portions:
            yield from make_steps(plan, portion, rank, workers)


def make_steps(plan: FeedPlan, portion: Portion, rank: int, workers: int) -> Iterator[StepBatch]:
    """Make the steps of a portion for one worker; a sample that cannot be made is left out and counted."""
    steps = range(portion.first_step, portion.last_step + 1)
    places = {step: plan.order.places(step, rank=rank, workers=workers) for step in steps}
    posts = _read_pairs(plan, [place for of_step in places.values() for place in of_step])
    maker = sample_maker(plan.entry, plan.recipe)
    for step in steps:
        samples, left_out = [], Counter[str]()
        for place in places[step]:
            try:
                samples.append(make_sample(plan, maker, *posts[place]))
            except LeftOutError as error:
                left_out[error.reason] += 1
        tokens = sum(sample.answer_tokens for sample in samples)
        yield StepBatch(step, portion.epoch, maker.micro_batches(samples), len(samples), tokens, dict(left_out))


def make_sample(plan: FeedPlan, maker: SampleMaker, post: Post, name: str) -> Sample:
    """Return the sample of a post and a task.

    Raises:
        LeftOutError: It cannot be learnt.
    """
    task, variant = plan.choice.tasks[post.dataset][name]
    known = plan.choice.explanations
    explanation = None if known is None else known[post.post_key, name]
    return maker.make(post, task, explanation, variant=variant)


def check_feed(plan: FeedPlan) -> None:
    """Refuse a training whose every sample would be left out; looks for the first that is not.

    Raises:
        ConfigurationError: There is none; the message counts why.
    """
    why = Counter[str](plan.left_out)
    for portion in plan.order.portions(0, plan.order.steps_per_epoch - 1):
        for batch in make_steps(plan, portion, rank=0, workers=1):
            if batch.samples:
                return
            why.update(batch.left_out)
    raise nothing_to_learn(plan.recipe, why)


@functools.lru_cache(maxsize=2)
def sample_maker(entry: ModelEntry, recipe: Recipe) -> SampleMaker:
    """Return this process' maker of samples: it makes many portions, and a tokenizer takes seconds to load."""
    return SampleMaker(resolve_checkpoint(entry, readers_only=True), entry, recipe)


def _read_pairs(plan: FeedPlan, places: list[Place]) -> dict[Place, tuple[Post, str]]:
    """Read the post and the task of each place, every unit once; posts that are not asked for are let go."""
    wanted: dict[int, list[int]] = defaultdict(list)
    for place in places:
        wanted[place.unit].append(place.sample)
    data, found = open_storage(plan.data_uri), {}
    for number, samples in wanted.items():
        unit = plan.units[number]
        pairs = [(post, task) for post in read_unit(data, unit) for task in plan.tasks_of(post)]
        if len(pairs) != plan.order.unit_samples[number]:
            raise ConfigurationError(
                f"{plan.data_uri}/{unit.shard}: row group {unit.row_group} has {len(pairs)} samples and had "
                f"{plan.order.unit_samples[number]} when the training began. Leave data alone while they are learnt."
            )
        found.update({Place(number, sample): pairs[sample] for sample in samples})
    return found


def _streamed(plan: FeedPlan, portions: list[Portion], rank: int, workers: int) -> Iterator[StepBatch]:
    import ray.data

    if not portions:
        return
    rows = [dataclasses.asdict(portion) for portion in portions]
    dataset: ray.data.Dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    make = functools.partial(_make_rows, plan, rank, workers)
    tasks = ray.data.TaskPoolStrategy(size=PORTIONS_AT_ONCE)
    dataset = dataset.map_batches(make, batch_size=1, compute=tasks, num_cpus=PREPARE_CPUS)
    context = dataset.context
    context.execution_options.preserve_order = True
    context.target_max_block_size = _BLOCK_BYTES
    context.enable_progress_bars = context.print_on_execution_start = False
    context.raise_original_map_exception = True
    tables: Any = dataset.iter_batches(prefetch_batches=1, batch_size=None, batch_format="pyarrow")
    yield from _joined(row for table in tables for row in table.to_pylist())


def _make_rows(plan: FeedPlan, rank: int, workers: int, batch: Mapping[str, Any]) -> Iterator[dict[str, list[Any]]]:
    (portion,) = (Portion(**{name: int(column[0]) for name, column in batch.items()}),)
    for made in make_steps(plan, portion, rank, workers):
        for row in _rows(made):
            yield {name: [value] for name, value in row.items()}


def _rows(batch: StepBatch) -> Iterator[dict[str, Any]]:
    """Yield a row for each forward pass of a step, so that none is larger than what a model takes at a time."""
    said = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    passes = said.pop("micro_batches") or [{}]
    for left, inputs in zip(reversed(range(len(passes))), passes, strict=True):
        tensors = {name: tensor.contiguous() for name, tensor in inputs.items()}
        yield {"batch": json.dumps(said), "left": left, "tensors": save(tensors)}


def _joined(rows: Iterable[Mapping[str, Any]]) -> Iterator[StepBatch]:
    passes: list[dict[str, torch.Tensor]] = []
    for row in rows:
        inputs = load(row["tensors"])
        passes += [inputs] if inputs else []
        if row["left"] == 0:
            yield StepBatch(micro_batches=passes, **json.loads(row["batch"]))
            passes = []
