"""Training an adapter on Ray Train, from a job to a stored adapter with its card."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from mmsoc_ray.data import Storage, open_storage
from mmsoc_ray.data.s3 import endpoint
from mmsoc_ray.errors import ConfigurationError, TrainingError
from mmsoc_ray.models.digests import combined_digest
from mmsoc_ray.training.adapters import AdapterCard, file_digests, find_card, read_card, write_adapter
from mmsoc_ray.training.board import News, hung_board
from mmsoc_ray.training.drivers import TRAINING, Driver
from mmsoc_ray.training.job import TrainingJob
from mmsoc_ray.training.plan import FeedPlan, plan_feed
from mmsoc_ray.training.trackers import followed
from mmsoc_ray.training.worker import ADAPTER_FOLDER, OUTCOME_FILE, train_worker

CHECKPOINTS_KEPT = 2
FAILURES = 3
"""So often a worker may die for reasons of its own; preempted machines do not count."""

PACKAGES = ("mmsoc-ray", "torch", "transformers", "peft", "ray")


def train_adapter(
    job: TrainingJob,
    root: Storage,
    *,
    note: Callable[[str], None] = print,
    trackers: Sequence[str] = (),
    in_process: bool = False,
) -> AdapterCard:
    """Train an adapter and store it, unless it is there already.

    A training that was interrupted goes on from its last checkpoint. Checkpoints lie in ``<root>/training/<name>`` and
    are removed once the adapter is stored. Where another process trains the same adapter, it is waited for.

    Args:
        job: The training.
        root: Where checkpoints and adapters are kept.
        note: Takes a line for people now and then: loss, speed, time left.
        trackers: Names of trackers that are told of each point; see ``trackers``.
        in_process: Train in this process instead of a worker of Ray: nothing is kept before the end.

    Raises:
        ConfigurationError: The recipe does not fit the model or the data.
        TrainingError: The training failed; the message says why, and which checkpoint is kept.
    """
    if (card := read_card(root, job.name)) is not None:
        note(f"{job.name}: trained before")
        return card
    tasks = {
        dataset: {task.definition.name: (task.definition, task.variant) for task in asked}
        for dataset, asked in job.tasks.items()
    }
    plan = plan_feed(job.recipe, job.entry, open_storage(job.data_uri), job.splits, tasks)
    note(f"{job.name}: {plan.order.samples:,} samples, {plan.total_steps:,} steps of {job.recipe.batch}")
    with Driver(root, job.name) as driver:
        card = None
        if driver.wait(note):
            card = _trained(job, plan, root, driver.id, note, trackers, in_process=in_process)
        if card is None:
            card = find_card(root, job.name)
            note(f"{job.name}: stored by another process meanwhile")
        driver.tidy()
    return card


def _trained(
    job: TrainingJob,
    plan: FeedPlan,
    root: Storage,
    driver: str,
    note: Callable[[str], None],
    trackers: Sequence[str],
    *,
    in_process: bool,
) -> AdapterCard | None:
    """Train an adapter and store it; None where another process was faster."""
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        follow = stack.enter_context(followed(trackers, job, root.uri, note))

        def tell(news: News) -> None:
            note(news.line)
            if news.point is not None:
                follow(news.point)

        say = tell if in_process else stack.enter_context(hung_board(tell))
        settings = {"job": job, "plan": plan, "root": root.uri, "say": say, "streamed": not in_process}
        if in_process:
            settings["scratch"] = scratch
        try:
            result = _fit(job, root, driver, settings, in_process=in_process)
        except TrainingError:  # whatever it was: Ray Train, too, fails where its checkpoints were tidied away
            if read_card(root, job.name) is None:
                raise
            return None
        if read_card(root, job.name) is not None:
            return None
        with result.checkpoint.as_directory() as folder:
            card = _card(job, plan, Path(folder))
            return card if write_adapter(root, card, Path(folder) / ADAPTER_FOLDER) == card else None


def _fit(job: TrainingJob, root: Storage, driver: str, settings: dict[str, Any], *, in_process: bool) -> Any:
    worker: Any = train_worker  # Ray's annotations are those of its older trainer
    trainer = TorchTrainer(
        worker,
        train_loop_config=settings,
        scaling_config=_scaling(job, in_process=in_process),
        run_config=RunConfig(
            name=f"{job.name}/{driver}",
            **_place(root),
            checkpoint_config=CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
            failure_config=FailureConfig(max_failures=FAILURES),
        ),
    )
    kept = f"Checkpoints are kept in {root.uri}/{TRAINING}/{job.name}; the same command goes on from the last one."
    try:
        result: Any = trainer.fit()
    except TrainingFailedError as error:
        raise TrainingError(f"training {job.name}: {_cause(error)} {kept}") from error
    if (said := result.return_value) is not None:
        if said["kind"] == TrainingError.__name__:
            raise TrainingError(f"training {job.name}: {said['said']} {kept}")
        raise ConfigurationError(said["said"])
    return result


def _scaling(job: TrainingJob, *, in_process: bool) -> ScalingConfig:
    recipe = job.recipe
    least, most = recipe.worker_range
    if in_process:
        return ScalingConfig(num_workers=0)
    resources = {"CPU": recipe.cpus_per_worker}
    if recipe.gpus_per_worker:
        resources["GPU"] = recipe.gpus_per_worker
    workers: Any = most if least == most else (least, most)
    return ScalingConfig(
        num_workers=workers,
        use_gpu=recipe.gpus_per_worker > 0,
        resources_per_worker=resources,
    )


def _place(root: Storage) -> dict[str, Any]:
    """Return where Ray Train keeps checkpoints: on S3 through Arrow's client, which is told of another server."""
    parts = urlsplit(root.uri)
    if parts.scheme != "s3":
        return {"storage_path": f"{root.uri}/{TRAINING}"}
    path = f"{parts.netloc}{parts.path}/{TRAINING}"
    if (server := endpoint()) is None:
        return {"storage_path": f"s3://{path}"}
    address = urlsplit(server)
    files = pyarrow.fs.S3FileSystem(endpoint_override=address.netloc, scheme=address.scheme)
    return {"storage_path": path, "storage_filesystem": files}


def _cause(error: TrainingFailedError) -> str:
    failures = getattr(error, "worker_failures", None) or {0: error}
    said = str(failures[min(failures)]).strip().splitlines()
    return (said[-1] if said else type(error).__name__).strip().rstrip(".") + "."


def _card(job: TrainingJob, plan: FeedPlan, folder: Path) -> AdapterCard:
    outcome: Mapping[str, Any] = json.loads((folder / OUTCOME_FILE).read_text(encoding="utf-8"))
    files = file_digests(folder / ADAPTER_FOLDER)
    return AdapterCard(
        name=job.name,
        model=job.entry.name,
        method=job.recipe.method,
        rank=outcome["rank"],
        alpha=outcome["alpha"],
        digest=combined_digest(files),
        base_digest=job.base_digest,
        data_digest=job.data_digest,
        recipe=job.recipe.content(),
        recipe_name=job.recipe.name,
        code_version={name: importlib.metadata.version(name) for name in PACKAGES},
        samples=plan.order.samples,
        left_out=dict(Counter(plan.left_out) + Counter(outcome["left_out"])),
        steps=outcome["steps"],
        epochs=outcome["steps"] / plan.order.steps_per_epoch,
        best_step=outcome["best_step"],
        curves=outcome["curves"],
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
    )
