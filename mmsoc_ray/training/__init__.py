"""Training on Ray Train: adapters of any model, and the projector of the demo's multimodal model.

The command line and plans read cards without torch and Ray: a name is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmsoc_ray.training.adapters import (
        AdapterCard,
        CurvePoint,
        adapter_name,
        check_base,
        fetch_adapter,
        find_card,
        list_adapters,
        read_card,
        write_adapter,
    )
    from mmsoc_ray.training.export import export_adapter
    from mmsoc_ray.training.job import TrainedTask, TrainingJob
    from mmsoc_ray.training.projector import HeldOut, ProjectorConfig, TrainedProjector, train_projector
    from mmsoc_ray.training.projector_card import write_projector
    from mmsoc_ray.training.trainer import train_adapter

__all__ = [
    "AdapterCard",
    "CurvePoint",
    "HeldOut",
    "ProjectorConfig",
    "TrainedProjector",
    "TrainedTask",
    "TrainingJob",
    "adapter_name",
    "check_base",
    "export_adapter",
    "fetch_adapter",
    "find_card",
    "list_adapters",
    "read_card",
    "train_adapter",
    "train_projector",
    "write_adapter",
    "write_projector",
]

_MODULES = {
    "adapters": (
        "AdapterCard",
        "CurvePoint",
        "adapter_name",
        "check_base",
        "fetch_adapter",
        "find_card",
        "list_adapters",
        "read_card",
        "write_adapter",
    ),
    "export": ("export_adapter",),
    "job": ("TrainedTask", "TrainingJob"),
    "projector": ("HeldOut", "ProjectorConfig", "TrainedProjector", "train_projector"),
    "projector_card": ("write_projector",),
    "trainer": ("train_adapter",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
