"""Trackers: where people who follow many trainings see their curves. Each is a library of its own, and an extra.

They are told by the process that began the training, so that no worker needs their addresses or keys, and a tracker
that fails ends nothing but its own curve.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

from mmsoc_ray.errors import ConfigurationError, unknown_name
from mmsoc_ray.training.adapters import CurvePoint
from mmsoc_ray.training.job import TrainingJob

PROJECT = "mmsoc_ray"
"""Experiment of MLflow and project of Weights & Biases where the environment names none."""
TENSORBOARD = "tensorboard"
"""Folder of TensorBoard's files below the output root."""


class Tracker(Protocol):
    """One training in one tracker."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take what was measured at a step."""

    def close(self, *, finished: bool) -> None:
        """Write what is left; told whether the training came to its end."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that is unknown or not installed, before anything is spent.

    Raises:
        ConfigurationError: Naming the known ones, or the extra to install.
    """
    for name in names:
        if name not in _TRACKERS:
            raise unknown_name("tracker", name, list(_TRACKERS), where="--tracker")
        library, _ = _TRACKERS[name]
        if find_spec(library) is None:
            raise ConfigurationError(
                f"--tracker {name}: the package {library} is not installed. Run pip install 'mmsoc-ray[{name}]'."
            )


@contextlib.contextmanager
def followed(
    names: Sequence[str], job: TrainingJob, root_uri: str, note: Callable[[str], None]
) -> Iterator[Callable[[CurvePoint], None]]:
    """Open trackers for a training; give what tells them of a point.

    Args:
        names: Names of trackers.
        job: The training; its name and recipe are told.
        root_uri: Output root.
        note: Told of a tracker that fails; the training goes on without it.
    """
    there: dict[str, Tracker] = {}

    def tried(name: str, act: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return act(*arguments, **options)
        except Exception as error:  # whatever a library, a server or a disk says
            there.pop(name, None)
            note(f"{name} failed ({type(error).__name__}: {error}); the training goes on without it")

    def tell(point: CurvePoint) -> None:
        values = numbers(point)
        for name, tracker in list(there.items()):
            tried(name, tracker.log, values, point.step)

    for name in names:
        _, make = _TRACKERS[name]
        if (tracker := tried(name, make, job, root_uri)) is not None:
            there[name] = tracker
    finished = False
    try:
        yield tell
        finished = True
    finally:
        for name, tracker in list(there.items()):
            tried(name, tracker.close, finished=finished)


def numbers(point: CurvePoint) -> dict[str, float]:
    """Return what was measured at a point by name: ``loss``, ``validation/<dataset>/<task>/<metric>``, ..."""
    found = {name: getattr(point, name) for name in ("loss", "learning_rate", "samples_per_s", "validation_loss")}
    found |= {f"validation/{name}": value for name, value in point.validation.items()}
    return {name: value for name, value in found.items() if value is not None}


class _TensorBoard:
    """Event files in ``<root>/tensorboard/<adapter>``, which ``tensorboard --logdir <root>/tensorboard`` shows."""

    def __init__(self, job: TrainingJob, root_uri: str) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(f"{root_uri}/{TENSORBOARD}/{job.name}")

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        self._writer.close()


class _MLflow:
    """A run of MLflow, where ``MLFLOW_TRACKING_URI`` says and in the experiment of ``MLFLOW_EXPERIMENT_NAME``.

    Of a training that goes on after it was cut, the same run.
    """

    def __init__(self, job: TrainingJob, root_uri: str) -> None:
        import mlflow

        self._client = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        runs = self._client.search_runs([experiment], f"attributes.run_name = '{job.name}'", max_results=1)
        if runs:
            self._run = runs[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        tags = {"model": job.entry.name, "root": root_uri}
        self._run = self._client.create_run(experiment, tags=tags, run_name=job.name).info.run_id
        for field, value in job.recipe.content().items():
            self._client.log_param(self._run, field, value)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if finished else "FAILED")


class _Wandb:
    """A run of Weights & Biases, by its own environment (``WANDB_MODE``, ``WANDB_DIR``, ``WANDB_PROJECT``, ...).

    Of a training that goes on after it was cut, the same run.
    """

    def __init__(self, job: TrainingJob, root_uri: str) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=job.name,
            name=job.name,
            resume="allow",
            config={"model": job.entry.name, "root": root_uri, **job.recipe.content()},
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


_TRACKERS: dict[str, tuple[str, Callable[[TrainingJob, str], Tracker]]] = {
    "tensorboard": ("tensorboardX", _TensorBoard),
    "mlflow": ("mlflow", _MLflow),
    "wandb": ("wandb", _Wandb),
}
"""By name, which is also that of the extra: the library, and what opens a training in it."""
