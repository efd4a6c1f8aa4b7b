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
from mmsoc_ray.config.recipe import Optimizer, Recipe, Validation, load_recipe
from mmsoc_ray.config.task_file import LabelChoice, TaskFile, load_task_file

__all__ = [
    "DatasetChoice",
    "Defaults",
    "Grid",
    "LabelChoice",
    "ModelChoice",
    "Optimizer",
    "Recipe",
    "Resources",
    "TaskChoice",
    "TaskFile",
    "Validation",
    "load_grid",
    "load_recipe",
    "load_task_file",
    "narrow",
]
