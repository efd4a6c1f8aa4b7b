"""The recipes that a grid names for its fine-tuned settings: read, and held against its models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mmsoc_ray.config.located_yaml import Location
from mmsoc_ray.config.recipe import Recipe, load_recipe
from mmsoc_ray.errors import ConfigurationError, unknown_name
from mmsoc_ray.models import can_answer, get_model, model_names
from mmsoc_ray.models.entry import EngineName
from mmsoc_ray.tasks import FINETUNED, is_finetuned

if TYPE_CHECKING:
    from mmsoc_ray.config.grid import Grid

FinetunedSetting = Literal["finetuned", "finetuned_explained"]
Recipes = dict[tuple[str | None, str], Recipe]
"""Recipes by model, None where it is the grid's for all, and setting."""

UNTRAINABLE: dict[EngineName, str] = {
    "baseline": "is a baseline, which has no weights to train",
    "endpoint": "is answered for by a server, whose weights are not here",
}


def training_problems(grid: Grid, folder: Path, recipes: Recipes) -> Iterator[tuple[Location, str]]:
    """Read the recipes of a grid into ``recipes``; yield the fields that are wrong, and why.

    Args:
        grid: The grid.
        folder: Of the grid's file; relative paths are taken from there.
        recipes: Filled.
    """
    for setting, file in grid.training.items():
        yield from _read(("training", setting), folder / file, recipes, (None, setting))
    for name, choice in grid.models.items():
        for setting, file in (choice.training or {}).items():
            yield from _read(("models", name, "training", setting), folder / file, recipes, (name, setting))
        yield from _model_problems(grid, name, recipes)


def _read(where: Location, file: Path, recipes: Recipes, key: tuple[str | None, str]) -> Iterator[tuple[Location, str]]:
    try:
        recipe = recipes[key] = load_recipe(file)
    except ConfigurationError as error:
        yield where, str(error)
        return
    if key[1] == FINETUNED and recipe.explained:
        yield where, f"{file} learns explanations too (target {recipe.target}): that is finetuned_explained."


def _model_problems(grid: Grid, name: str, recipes: Recipes) -> Iterator[tuple[Location, str]]:
    choice, location = grid.models[name], ("models", name)
    if not choice.settings and name in model_names() and not can_answer(get_model(name), FINETUNED):
        return  # a default setting that it cannot answer is passed over
    asked = location if choice.settings else ("defaults",)
    for setting in filter(is_finetuned, choice.settings or grid.defaults.settings):
        own = (name, setting) in recipes
        recipe = recipes.get((name, setting)) or recipes.get((None, setting))
        if recipe is None:
            if setting not in {**grid.training, **(choice.training or {})}:  # else the file is wrong, and that is said
                yield (*asked, "settings"), f"{setting} needs a recipe. Add to the grid: training: {{{setting}: FILE}}."
            continue
        where = (*location, "training", setting) if own else ("training", setting)
        if recipe.base not in (None, name):
            yield where, f"recipe {recipe.name} is for {recipe.base}, not for {name}. Take another, or its own model."
        for kind, names, there in (("dataset", recipe.datasets, grid.datasets), ("task", recipe.tasks, grid.tasks)):
            for wrong in sorted(set(names or ()) - set(there)):
                yield where, f"recipe {recipe.name}: {unknown_name(f'{kind} of this grid', wrong, there)}"
