"""What each worker of a training does, in a process of Ray Train or in this one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from mmsoc_ray.data import Storage, open_storage
from mmsoc_ray.engines.accelerator import DTYPES, choose_device, choose_dtype
from mmsoc_ray.engines.checkpoint import load_checkpoint
from mmsoc_ray.errors import ConfigurationError, TrainingError
from mmsoc_ray.full_disk import naming_full_disk
from mmsoc_ray.models import resolve_checkpoint
from mmsoc_ray.training import sharding
from mmsoc_ray.training.adapters import CurvePoint, read_card
from mmsoc_ray.training.board import News
from mmsoc_ray.training.curves import Curves
from mmsoc_ray.training.drivers import checkpoint_name, checkpoints
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
        root: Where checkpoints and adapters are kept.
        say: Tells people how it goes; worker 0 calls it.
        scratch: Local folder for a checkpoint on its way to storage.
        streamed: Whether samples are made by tasks of Ray Data.

    Raises:
        ConfigurationError: The model has not what the recipe trains, or nothing is left to learn.
        TrainingError: Another process has stored the adapter.
    """

    def __init__(
        self,
        job: TrainingJob,
        plan: FeedPlan,
        root: Storage,
        say: Say,
        scratch: Path,
        *,
        streamed: bool,
    ) -> None:
        self._job, self._plan, self._root, self._say = job, plan, root, say
        self._scratch, self._streamed = scratch, streamed
        self._check_not_stored()
        recipe = job.recipe
        check_feed(plan)
        device = ray.train.torch.get_device() if recipe.gpus_per_worker else choose_device("cpu")
        dtype = DTYPES[choose_dtype(recipe.precision, device)]
        sharded = recipe.sharding == "fsdp" and sharding.workers() > 1
        kept = torch.float32 if sharded or recipe.method == "full" else dtype
        loaded = load_checkpoint(resolve_checkpoint(job.entry), job.entry, kept, torch.device("cpu"))
        state = newest_state(root, job.name)
        where = f"recipe {recipe.name!r}, model {job.entry.name!r}"
        trainable = TrainableModel(loaded.model, recipe, where=where, initial=state and state["initial"])
        self._training = Training(trainable, recipe, total=plan.total_steps, device=device, dtype=dtype)
        self._curves = Curves(self._training)
        self._left_out = Counter[str]()
        if state is not None:
            self._training.restore(state)
            self._curves.restore(state["extra"]["curves"])
            if sharding.rank() == 0:
                self._left_out.update(state["extra"]["left_out"])
            self._tell(News(f"goes on from step {self._training.step:,} of {plan.total_steps:,}"))
        self._check = Validator(job, loaded, self._training) if recipe.validation is not None else None

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

    def _check_not_stored(self) -> None:
        """End the training on all workers where another process was faster."""
        if sharding.of_first(read_card(self._root, self._job.name) is not None):
            raise TrainingError("another process has stored the adapter, and this training is of no use.")

    def _keep(self, last: bool) -> None:
        """Hand a checkpoint to Ray Train, which stores it; the last one holds the adapter. All workers call it."""
        self._check_not_stored()
        left_out = dict(sum(map(Counter, sharding.of_all(dict(self._left_out))), Counter[str]()))
        extra = {"curves": self._curves.state(), "left_out": left_out}
        weights = self._curves.best or self._training.trainable.state()
        folder = self._scratch / f"step-{self._training.step}"
        metrics = {"step": self._training.step}
        with naming_full_disk(folder, "Make space there, or set TMPDIR to a larger disk; then run the same again."):
            folder.mkdir()
            self._training.save(folder, extra)
            if last and sharding.rank() == 0:
                self._save_adapter(folder, weights, left_out)
        if sharding.rank() == 0:
            checkpoint = ray.train.Checkpoint.from_directory(folder)
            name = checkpoint_name(self._training.step)
            ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=name)
        else:
            ray.train.report(metrics)
        for old in self._scratch.iterdir():
            if old != folder or sharding.rank() != 0:
                shutil.rmtree(old)

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
        settings: What ``Worker`` takes, of ``root`` the address; ``scratch`` where a folder is to outlive the call.

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
                open_storage(settings["root"]),
                settings["say"],
                Path(scratch),
                streamed=settings["streamed"],
            ).run()
        except (ConfigurationError, TrainingError) as error:
            return {"kind": type(error).__name__, "said": str(error)}
    return None


def _has_room(job: TrainingJob) -> bool:
    """Whether the cluster has a CPU that no worker holds; without one, tasks of Ray Data would wait for ever."""
    held = sharding.workers() * job.recipe.cpus_per_worker
    resources: Any = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return float(resources.get("CPU", 0.0)) >= held + PREPARE_CPUS


def newest_state(root: Storage, name: str) -> dict[str, Any] | None:
    """Return the state of the newest checkpoint that is whole, whoever wrote it; None where there is none.

    A full disk or a kill may have left one in part, and one may vanish while it is read, since its driver has ended.
    All workers take the same.
    """
    for folder in sharding.of_first(checkpoints(root, name)):
        state = _whole_state(root, folder)
        if all(sharding.of_all(state is not None)):
            return state
    return None


def _whole_state(root: Storage, folder: str) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(FileNotFoundError, TornStateError):
        root.download(f"{folder}/{STATE_FILE}", Path(scratch) / STATE_FILE)
        return read_state(Path(scratch))
    return None
