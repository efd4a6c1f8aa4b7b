"""What a run covers: grids in YAML, validated with errors that name file, line, field and allowed values."""

from mmsoc_ray.config.grid import (
    DatasetChoice,
    Defaults,
    Grid,
    ModelChoice,
    Resources,
    TaskChoice,
    load_grid,
    narrow,
)

__all__ = ["DatasetChoice", "Defaults", "Grid", "ModelChoice", "Resources", "TaskChoice", "load_grid", "narrow"]
