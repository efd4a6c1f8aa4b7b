"""What each worker of a training does, in a process of Ray Train or in this one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from mmsoc_ray.data import open_storage
from mmsoc_ray.engines.accelerator import DTYPES, choose_device, choose_dtype
from mmsoc_ray.engines.checkpoint import load_checkpoint
from mmsoc_ray.errors import ConfigurationError, TrainingError
from mmsoc_ray.full_disk import naming_full_disk
from mmsoc_ray.models import resolve_checkpoint
from mmsoc_ray.training import sharding
from mmsoc_ray.training.adapters import CurvePoint
from mmsoc_ray.training.board import News
from mmsoc_ray.training.curves import Curves
from mmsoc_ray.training.feed import PREPARE_CPUS, StepBatch, check_feed, step_batches
from mmsoc_ray.training.job import TrainingJob
from mmsoc_ray.training.loop import STATE_FILE, TornStateError, Training, read_state
from mmsoc_ray.training.methods import TrainableModel
from mmsoc_ray.training.plan import FeedPlan
from mmsoc_ray.training.steps import run_steps
from mmsoc_ray.training.validation import Validator

OUTCOME_FILE = "outcome.json"
ADAPTER_FOLDER = "adapter"

Say = Callable[[News], None]


@dataclass(frozen=True)
class Outcome:
    """What a finished training says of itself, beside the adapter's files.

    Attributes:
        steps: Optimiser steps taken.
        best_step: Step whose weights are stored.
        rank: Rank as stored; None where the method has none.
        alpha: Alpha as stored.
        left_out: Why to how many samples were not learnt in the epochs that were run.
        curves: What was measured.
    """

    steps: int
    best_step: int
    rank: int | None
    alpha: float | None
    left_out: Mapping[str, int] = field(default_factory=dict)
    curves: tuple[CurvePoint, ...] = ()


class Worker:
    """One worker: model, samples and checkpoints of a training.

    Args:
        job: The training.
        plan: What is learnt, in which order.
        say: Tells people how it goes; worker 0 calls it.
        scratch: Local folder for a checkpoint on its way to storage.
        streamed: Whether samples are made by tasks of Ray Data.
        left_over: Addresses of the checkpoints of an earlier process, the newest first.

    Raises:
        ConfigurationError: The model has not what the recipe trains, or nothing is left to learn.
    """

    def __init__(
        self,
        job: TrainingJob,
        plan: FeedPlan,
        say: Say,
        scratch: Path,
        *,
        streamed: bool,
        left_over: Sequence[str] = (),
    ) -> None:
        self._job, self._plan, self._say, self._scratch, self._streamed = job, plan, say, scratch, streamed
        recipe = job.recipe
        check_feed(plan)
        device = ray.train.torch.get_device() if recipe.gpus_per_worker else choose_device("cpu")
        self._name = choose_dtype(recipe.precision, device)
        checkpoint = resolve_checkpoint(job.entry)
        sharded = recipe.sharding == "fsdp" and sharding.workers() > 1
        kept = torch.float32 if sharded or recipe.method == "full" else DTYPES[self._name]
        loaded = load_checkpoint(checkpoint, job.entry, kept, torch.device("cpu"))
        state = _resumed(left_over)
        where = f"recipe {recipe.name!r}, model {job.entry.name!r}"
        trainable = TrainableModel(loaded.model, recipe, where=where, initial=state and state["initial"])
        self._training = Training(trainable, recipe, total=plan.total_steps, device=device, dtype=DTYPES[self._name])
        self._curves = Curves(self._training)
        self._left_out = Counter[str]()
        if state is not None:
            self._training.restore(state)
            self._curves.restore(state["extra"]["curves"])
            if sharding.rank() == 0:
                self._left_out.update(state["extra"]["left_out"])
            self._tell(News(f"goes on from step {self._training.step:,} of {plan.total_steps:,}"))
        self._check = Validator(job, checkpoint, loaded, self._training) if recipe.validation is not None else None

    def run(self) -> None:
        """Take all steps that are left."""
        run_steps(self._training, self._curves, self._batches(), check=self._check, keep=self._keep, say=self._tell)

    def _batches(self) -> Iterator[StepBatch]:
        batches = step_batches(
            self._plan,
            start_step=self._training.step,
            rank=sharding.rank(),
            workers=sharding.workers(),
            streamed=self._streamed and _has_room(self._job),
        )
        for batch in batches:
            if batch.epoch == 0:  # so that every sample counts once
                self._left_out.update(batch.left_out)
            yield batch

    def _tell(self, news: News) -> None:
        if sharding.rank() == 0:
            self._say(news)

    def _keep(self, last: bool) -> None:
        """Hand a checkpoint to Ray Train, which stores it; the last one holds the adapter. All workers call it."""
        extra = {"curves": self._curves.state(), "left_out": self._left_out_by_all()}
        weights = self._curves.best or self._training.trainable.state()
        folder = self._scratch / f"step-{self._training.step}"
        metrics = {"step": self._training.step}
        with naming_full_disk(folder, "Make space there, or set TMPDIR to a larger disk; then run the same again."):
            folder.mkdir()
            self._training.save(folder, extra)
            if last and sharding.rank() == 0:
                self._save_adapter(folder, weights, extra["left_out"])
        if sharding.rank() == 0:
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
        else:
            ray.train.report(metrics)
        for old in self._scratch.iterdir():
            if old != folder or sharding.rank() != 0:
                shutil.rmtree(old)

    def _left_out_by_all(self) -> dict[str, int]:
        if sharding.workers() == 1:
            return dict(self._left_out)
        parts: list[Any] = [None] * sharding.workers()
        torch.distributed.all_gather_object(parts, dict(self._left_out))
        return dict(sum(map(Counter, parts), Counter[str]()))

    def _save_adapter(self, folder: Path, weights: Mapping[str, torch.Tensor], left_out: Mapping[str, int]) -> None:
        adapter = folder / ADAPTER_FOLDER
        adapter.mkdir()
        stored = self._training.trainable.save(adapter, weights)
        rank, alpha = stored or (None, None)
        step = self._training.step
        best_step = self._curves.best_step if self._curves.best else step
        outcome = Outcome(step, best_step, rank, alpha, left_out, tuple(self._curves.points))
        said = {**dataclasses.asdict(outcome), "curves": [point.model_dump() for point in outcome.curves]}
        (folder / OUTCOME_FILE).write_text(json.dumps(said), encoding="utf-8")


def train_worker(settings: Mapping[str, Any]) -> dict[str, str] | None:
    """Train in a worker of Ray Train.

    What every worker finds at the same step, and would find again, is told instead of raised: Ray would start over.

    Args:
        settings: What ``Worker`` takes; ``scratch`` where a folder is to outlive the call.

    Returns:
        None, or the ``kind`` of an error and what it ``said``.
    """
    recipe = settings["job"].recipe
    torch.set_num_threads(recipe.threads or max(1, int(recipe.cpus_per_worker)))
    with contextlib.ExitStack() as stack:
        scratch = settings.get("scratch") or stack.enter_context(tempfile.TemporaryDirectory())
        try:
            Worker(
                settings["job"],
                settings["plan"],
                settings["say"],
                Path(scratch),
                streamed=settings["streamed"],
                left_over=settings.get("left_over", ()),
            ).run()
        except (ConfigurationError, TrainingError) as error:
            return {"kind": type(error).__name__, "said": str(error)}
    return None


def _has_room(job: TrainingJob) -> bool:
    """Whether the cluster has a CPU that no worker holds; without one, tasks of Ray Data would wait for ever."""
    held = sharding.workers() * job.recipe.cpus_per_worker
    resources: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return float(resources.get("CPU", 0.0)) >= held + PREPARE_CPUS


def _resumed(left_over: Sequence[str]) -> dict[str, Any] | None:
    """Return the state of the last checkpoint of this process, else of an earlier one; None where there is none."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return _newest_whole(left_over)
    with checkpoint.as_directory() as folder:
        return read_state(Path(folder))


def _newest_whole(left_over: Sequence[str]) -> dict[str, Any] | None:
    """Return the first state that is whole: a full disk or a kill may have left the newest one in part."""
    for address in left_over:
        with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(FileNotFoundError, TornStateError):
            open_storage(address).download(STATE_FILE, Path(scratch) / STATE_FILE)
            return read_state(Path(scratch))
    return None
