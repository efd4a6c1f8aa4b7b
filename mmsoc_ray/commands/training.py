"""Training on the way to a run: the adapters that its fine-tuned settings lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmsoc_ray.data import Storage
    from mmsoc_ray.training import AdapterCard, TrainingJob


def trainer(
    root: Storage, note: Callable[[str], None], *, address: str | None, trackers: Sequence[str] = ()
) -> Callable[[TrainingJob], AdapterCard]:
    """Return what trains an adapter and keeps it below the output root.

    Args:
        root: Output root.
        note: Told how far it is.
        address: Ray cluster to join; by default that of ``RAY_ADDRESS``, else Ray starts inside this process.
        trackers: Names of trackers that are told of the curves.

    Raises:
        ConfigurationError: A tracker is unknown or not installed.
    """
    from mmsoc_ray.training.trackers import check_trackers

    check_trackers(trackers)

    def train(job: TrainingJob) -> AdapterCard:
        from mmsoc_ray.grid.stream import start_ray
        from mmsoc_ray.interrupts import terminate_as_interrupt
        from mmsoc_ray.training import train_adapter

        start_ray(address)
        terminate_as_interrupt()
        note(f"training {job.name} ({job.recipe.method} of {job.entry.name})")
        return train_adapter(job, root, note=note, trackers=trackers)

    return train
