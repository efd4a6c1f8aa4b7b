"""The command ``mmsoc agree``: where two runs, or two engines, answer the same requests in two ways."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mmsoc_ray.commands.options import EndpointOption, OutputOption, split_run
from mmsoc_ray.errors import ConfigurationError

if TYPE_CHECKING:
    from mmsoc_ray.data import Storage
    from mmsoc_ray.grid.agree import Agreement, FinishedRun, Identity, Referee
    from mmsoc_ray.grid.answerer import Answerer
    from mmsoc_ray.grid.plan import GridPlan, ModelPlan

NO_GRID = "name the grid with --grid, for its data and checkpoints"


def agree(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Two runs: <root>/runs/<run_id>, or run ids with --output.", metavar="RUN"),
    ] = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Only these models, separated by commas; A=B where names differ.")
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            "--engines",
            help="Instead of runs: ask two of transformers, transformers-alone, vllm; nothing is sampled then.",
        ),
    ] = None,
    grid: Annotated[Path | None, typer.Option("--grid", help="Whose posts are asked, or were.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="With --engines: this folder instead of the grid's models.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="With --engines: so many posts of each dataset.")] = 20,
    dtype: Annotated[str, typer.Option("--dtype", help="With --engines: precision of both.")] = "float32",
    margin: Annotated[
        float, typer.Option("--margin", min=0, help="Candidates no further apart (log-probability) may differ.")
    ] = 1e-3,
    data: Annotated[str | None, typer.Option("--data", help="Prepared data instead of the grid's.")] = None,
    output: OutputOption = "mmsoc-output",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Compare two runs, or two engines, answer by answer. Ends with 1 where rounding does not explain a difference."""
    from mmsoc_ray.engines.agreement import beyond_rounding

    if engines is not None:
        if runs or grid is None:
            raise ConfigurationError("mmsoc agree --engines A,B takes --grid GRID and no runs.")
        found = _of_engines(_two_engines(engines), grid, models, checkpoint, limit, dtype, data)
    else:
        if len(runs or ()) != 2:
            raise ConfigurationError(f"mmsoc agree takes two runs, or --engines and --grid; {len(runs or ())} given.")
        found = _of_runs(runs or [], output, models, grid, data)
    if as_json:
        typer.echo(json.dumps([_content(agreement, margin) for agreement in found], indent=1))
    else:
        for agreement in found:
            _show(agreement, margin)
    if any(beyond_rounding(agreement.disagreements, margin) for agreement in found):
        raise typer.Exit(1)


def _two_engines(option: str) -> tuple[str, str]:
    from mmsoc_ray.grid.agree import ENGINES

    names = tuple(name.strip() for name in option.split(","))
    if len(names) != 2 or not set(names) <= set(ENGINES):
        raise ConfigurationError(f"--engines {option!r}: name two of {', '.join(ENGINES)}, separated by a comma.")
    return names[0], names[1]


def _of_engines(
    names: tuple[str, str],
    grid: Path,
    models: str | None,
    checkpoint: Path | None,
    limit: int,
    dtype: str,
    data: str | None,
) -> list[Agreement]:
    from mmsoc_ray.grid.agree import ask, compare_answers, prepared_posts

    plan, posts_data = _plan(grid, data, models, limit=limit, checkpoint=checkpoint, dtype=dtype)
    found = []
    for model in plan.models:
        answerer = _with_checkpoint(plan, model.entry.name)
        posts = prepared_posts(plan, model, posts_data)
        one, other = (ask(name, answerer.entry, posts) for name in names)
        labels = f"{names[0]}/{model.entry.name}", f"{names[1]}/{model.entry.name}"
        found.append(compare_answers(labels, posts, one, other, _reference(answerer)))
    return found


def _of_runs(
    runs: Sequence[str], output: str, models: str | None, grid: Path | None, data: str | None
) -> list[Agreement]:
    from mmsoc_ray.grid.agree import FinishedRun, Referee, compare_runs

    one, other = (FinishedRun.open(*split_run(run, output)) for run in runs)
    found = []
    for names in _pairs(models, one, other):

        def find_referee(differing: Collection[Identity], names: tuple[str, str] = names) -> Referee:
            if grid is None:
                return Referee(None, NO_GRID)
            if "@" in names[0]:
                return Referee(None, "an adapter is merged into its checkpoint")
            return _referee(grid, data, names[0], (one.digest(names[0]), other.digest(names[1])), differing)

        found.append(compare_runs(one, other, names, find_referee))
    return found


def _pairs(option: str | None, one: FinishedRun, other: FinishedRun) -> list[tuple[str, str]]:
    """Return the models to compare: those named, or all that both runs have."""
    if option is not None:
        named = (name.partition("=") for name in option.split(",") if name.strip())
        return [(left.strip(), right.strip() or left.strip()) for left, _, right in named]
    there = {model.key for model in other.record.models}
    pairs = [(model.key, model.key) for model in one.record.models if model.key in there]
    if not pairs:
        raise ConfigurationError("The runs have no model in common: name two with --models A=B.")
    return pairs


def _referee(
    grid: Path, data: str | None, model: str, digests: tuple[str | None, str | None], differing: Collection[Identity]
) -> Referee:
    from mmsoc_ray.grid.agree import Referee, by_identity, prepared_posts

    plan, posts_data = _plan(grid, data, model)
    (planned,) = plan.models
    if not planned.entry.loads_weights:
        return Referee(None, f"the engine {planned.entry.engine} has no checkpoint")
    if not planned.entry.decoding.is_greedy:
        return Referee(None, "its answers are not drawn greedily")
    answerer = _with_checkpoint(plan, model)
    if set(digests) != {answerer.model_digest}:
        return Referee(None, "the runs had another checkpoint than the grid names, or each its own")
    posts = dict(by_identity(prepared_posts(plan, planned, posts_data)))
    return Referee(_reference(answerer), "", {identity: posts[identity] for identity in differing if identity in posts})


def _plan(
    grid: Path,
    data: str | None,
    models: str | None,
    *,
    limit: int | None = None,
    checkpoint: Path | None = None,
    dtype: str | None = None,
) -> tuple[GridPlan, Storage]:
    from mmsoc_ray.config import ModelChoice, load_grid, narrow
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.data.demo_shards import cached_demo
    from mmsoc_ray.grid import plan_grid
    from mmsoc_ray.grid.plan import without_adapters

    names = None if models is None or checkpoint is not None else tuple(name.strip() for name in models.split(","))
    loaded = narrow(load_grid(grid), models=names)
    if checkpoint is not None:
        own = {models or "checkpoint": ModelChoice(checkpoint=str(checkpoint))}
        loaded = loaded.model_copy(update={"models": own})
    where = data or loaded.data
    posts = cached_demo(lambda text: typer.echo(text, err=True)) if where == "demo" else open_storage(where)
    plan = without_adapters(plan_grid(loaded, posts, limit=limit))
    if dtype is not None:
        kept = [model for model in plan.models if model.entry.loads_weights]
        if not kept:
            raise ConfigurationError(f"{grid}: none of the models has a checkpoint that two engines could load.")
        plan = dataclasses.replace(plan, models=tuple(_comparable(model, dtype) for model in kept))
    return plan, posts


def _comparable(model: ModelPlan, dtype: str) -> ModelPlan:
    """Return a model as two engines are asked: in one precision, with nothing sampled, since each draws its own way."""
    changed: dict[str, Any] = {"dtype": dtype, "decoding": model.entry.decoding.unsampled}
    return dataclasses.replace(model, entry=dataclasses.replace(model.entry, **changed))


def _with_checkpoint(plan: GridPlan, name: str) -> Answerer:
    from mmsoc_ray.grid.answerer import resolve_answerer

    model = next(model for model in plan.models if model.entry.name == name)
    return resolve_answerer(model, seed=plan.grid.seed, weights=plan.grid.weights)


def _reference(answerer: Answerer) -> Any:
    from mmsoc_ray.engines.reference import TransformersReference
    from mmsoc_ray.models import resolve_checkpoint

    return TransformersReference(resolve_checkpoint(answerer.entry), answerer.entry)


def _show(agreement: Agreement, margin: float) -> None:
    from mmsoc_ray.engines.agreement import beyond_rounding

    table = Table("setting", "task", "requests", "identical", "share", title=f"{agreement.one} and {agreement.other}")
    for (setting, task), asked in agreement.asked.items():
        same = agreement.same(setting, task)
        table.add_row(setting, task, f"{asked:,}", f"{same:,}", f"{same / asked:.1%}")
    Console().print(table)
    for disagreement in agreement.disagreements:
        typer.echo(str(disagreement))
    beyond = len(beyond_rounding(agreement.disagreements, margin))
    typer.echo(
        f"{len(agreement.disagreements):,} of {sum(agreement.asked.values()):,} answers differ, {beyond:,} of them by "
        f"a margin of more than {margin:g} or an unknown one."
    )
    if agreement.unmatched:
        typer.echo(f"{agreement.unmatched:,} predictions stand in one of the runs only and were not compared.")


def _content(agreement: Agreement, margin: float) -> dict[str, Any]:
    from mmsoc_ray.engines.agreement import beyond_rounding

    cells = [
        {"setting": setting, "task": task, "requests": asked, "identical": agreement.same(setting, task)}
        for (setting, task), asked in agreement.asked.items()
    ]
    return {
        "one": agreement.one,
        "other": agreement.other,
        "cells": cells,
        "disagreements": [dataclasses.asdict(found) for found in agreement.disagreements],
        "beyond_margin": len(beyond_rounding(agreement.disagreements, margin)),
        "unmatched": agreement.unmatched,
    }
