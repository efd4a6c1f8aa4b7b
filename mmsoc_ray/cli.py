"""The ``mmsoc`` command."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mmsoc_ray.commands import runs
from mmsoc_ray.commands.adapters import adapters_app
from mmsoc_ray.commands.agree import agree
from mmsoc_ray.commands.data import data_app
from mmsoc_ray.commands.datasets import datasets_app
from mmsoc_ray.commands.explain import explain
from mmsoc_ray.commands.models import models_app
from mmsoc_ray.commands.options import (
    AddressOption,
    DataOption,
    EndpointOption,
    GridArgument,
    LimitOption,
    ModelsOption,
    OutputOption,
    ReuseOption,
    RunArgument,
    RunIdOption,
    TasksOption,
    names,
    reuse_policy,
    split_run,
)
from mmsoc_ray.commands.stats import stats
from mmsoc_ray.commands.tasks import tasks_app
from mmsoc_ray.errors import ConfigurationError, StorageError, TrainingError
from mmsoc_ray.interrupts import INTERRUPTED, terminate_as_interrupt, terminated_by_ray
from mmsoc_ray.invocation import program_name, refuse_vanishing, resume_command
from mmsoc_ray.patience import expect_first_contact

if TYPE_CHECKING:
    from mmsoc_ray.data import Storage
    from mmsoc_ray.grid import GridPlan

DEFAULT_OUTPUT = "mmsoc-output"
USAGE_ERROR: type[typer.BadParameter] = typer.BadParameter.__bases__[0]
"""What an unknown option and a missing argument raise, too; typer exports only this subclass of it."""

app = typer.Typer(
    help="Re-evaluate multimodal language models on social-media tasks, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class TableFormat(StrEnum):
    """How ``mmsoc table`` prints."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    json = "json"


@app.command()
def plan(
    grid: GridArgument,
    models: ModelsOption = None,
    tasks: TasksOption = None,
    limit: LimitOption = None,
    data: DataOption = None,
    s3_endpoint: EndpointOption = None,
    output: OutputOption = DEFAULT_OUTPUT,
    reuse: ReuseOption = "same_version",
    gpu_hour: Annotated[float | None, typer.Option("--gpu-hour", min=0, help="Price of a GPU's hour.")] = None,
    cells: Annotated[bool, typer.Option("--cells", help="Show the estimate of each cell.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print cells, posts, requests and resources of a grid, and what it will take; spends nothing."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid.adapters import needed_adapters, summary, with_adapters
    from mmsoc_ray.grid.forecast import forecast
    from mmsoc_ray.grid.forecast_table import cell_content, forecast_content, forecast_tables
    from mmsoc_ray.grid.plan_table import adapters_table, needs, plan_table, remarks

    planned, posts = _plan(grid, models, tasks, limit, data)
    root = open_storage(output)
    adapters = needed_adapters(planned, posts, root, resolve=False)
    planned = with_adapters(planned, adapters)
    expected = forecast(planned, posts, root, reuse_policy(reuse), lambda text: typer.echo(text, err=True))
    if as_json:
        questions = [(model, question) for model in planned.models for question in model.questions]
        listed = [
            dataclasses.asdict(model.cell(question))
            | {"posts": model.posts(question.dataset)}
            | cell_content(model, question, expected, gpu_hour=gpu_hour)
            for model, question in questions
        ]
        requests = {model.key: model.requests for model in planned.models}
        resources = {model.key: model.resources.model_dump() for model in planned.models}
        content: dict[str, Any] = {"grid": planned.grid.name, "limit": limit, "requests": requests}
        content |= {"resources": resources, "needs": {model.key: needs(model) for model in planned.models}}
        content |= {"remarks": remarks(planned), "adapters": summary(adapters), "cells": listed}
        content |= {"estimate": forecast_content(planned, expected, gpu_hour=gpu_hour)}
        typer.echo(json.dumps(content, indent=1))
    else:
        if adapters:
            Console().print(adapters_table(adapters), "")
        Console().print(
            plan_table(planned), "", forecast_tables(planned, expected, gpu_hour=gpu_hour, cells=cells), sep="\n"
        )


@app.command()
def run(
    grid: GridArgument,
    output: OutputOption = DEFAULT_OUTPUT,
    run_id: RunIdOption = None,
    models: ModelsOption = None,
    tasks: TasksOption = None,
    limit: LimitOption = None,
    data: DataOption = None,
    s3_endpoint: EndpointOption = None,
    address: AddressOption = None,
    reuse: ReuseOption = "same_version",
    with_training: Annotated[
        bool, typer.Option("--with-training", help="First train the adapters that fine-tuned settings lack.")
    ] = False,
    tracker: Annotated[
        list[str] | None,
        typer.Option("--tracker", help="Tell tensorboard, mlflow or wandb of each training's curves; may be repeated."),
    ] = None,
) -> None:
    """Evaluate a grid. The same command again resumes it, or says that nothing is left to do."""
    from mmsoc_ray.commands.training import trainer
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid import RunProgress, execute, open_run
    from mmsoc_ray.grid.adapters import settle_adapters

    policy = reuse_policy(reuse)
    if tracker and not with_training:
        raise ConfigurationError("--tracker follows trainings: give --with-training too.")
    root = open_storage(output)
    refuse_vanishing("--output", output)
    with RunProgress() as progress:
        planned, posts = _plan(grid, models, tasks, limit, data, progress.phase, address)
        train = trainer(root, progress.note, address=address, trackers=tracker or ()) if with_training else None
        planned = settle_adapters(planned, posts, root, train)
        opened = open_run(planned, posts, root, run_id or planned.grid.name, progress.phase)
        nothing_left = opened.finished()
        try:
            result = None if nothing_left else execute(opened, progress, address=address, reuse=policy)
        except StorageError as error:
            typer.echo(f"error: {error}\nThe same command takes the run up where it stands.", err=True)
            raise typer.Exit(1) from error
    _show_table(root.uri, opened.folder.run_id, TableFormat.table, None)
    where = f"{root.uri}/{opened.folder.root}"
    typer.echo(f"predictions  {where}\nresults      {root.uri}/{opened.folder.results}")
    typer.echo(f"table again  mmsoc table {shlex.quote(where)}")
    if nothing_left:
        typer.echo(f"Nothing was left to do: run {opened.folder.run_id!r} is complete. No engine was called.")
    if result is not None and result.taken_over:
        typer.echo(result.taken_over)
    if result is not None and (result.incomplete or not result.sealed):
        for cell in result.incomplete:
            typer.echo(cell.shortfall, err=True)
        typer.echo("The run is incomplete. The same command takes it up where it stands.", err=True)
        raise typer.Exit(1)


@app.command()
def table(
    run: RunArgument,
    output: OutputOption = DEFAULT_OUTPUT,
    form: Annotated[TableFormat, typer.Option("--format", help="How to print it.")] = TableFormat.table,
    svg: Annotated[Path | None, typer.Option("--svg", help="Also draw the table into this SVG file.")] = None,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Print the results table of a run again."""
    root, run_id = split_run(run, output)
    _show_table(root, run_id, form, svg)


for command in (explain, runs.aggregate, runs.verify, runs.gc, stats, agree):
    app.command()(command)
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")
app.add_typer(tasks_app, name="tasks")
app.add_typer(datasets_app, name="datasets")
app.add_typer(adapters_app, name="adapters")


def _plan(
    grid: Path,
    models: str | None,
    tasks: str | None,
    limit: int | None,
    data: str | None,
    phase: Callable[[str], None] = lambda text: typer.echo(text, err=True),
    address: str | None = None,
) -> tuple[GridPlan, Storage]:
    from mmsoc_ray.commands.preparing import open_posts
    from mmsoc_ray.config import load_grid, narrow
    from mmsoc_ray.grid import plan_grid

    loaded = narrow(load_grid(grid), models=names(models), tasks=names(tasks))
    posts = open_posts(loaded, grid, data, phase, address=address)
    return plan_grid(loaded, posts, limit=limit), posts


def _show_table(root_uri: str, run_id: str, form: TableFormat, svg: Path | None) -> None:
    from mmsoc_ray.results import stored
    from mmsoc_ray.results.export import to_csv, to_json, to_markdown
    from mmsoc_ray.results.render import render_table, save_svg

    found = stored.read_run(root_uri, run_id)
    extra: dict[str, Any] = {
        "notes": found.notes,
        "incomplete": found.incomplete,
        "comparisons": found.comparisons,
        "adapters": found.adapters,
    }
    if svg is not None:
        save_svg(found.rows, svg, title=f"mmsoc table {run_id}", **extra)
    if form is TableFormat.table:
        console = Console()
        console.print(render_table(found.rows, width=console.width, **extra))
    elif form is TableFormat.markdown:
        typer.echo(to_markdown(found.rows, **extra))
    else:
        typer.echo(to_csv(found.rows) if form is TableFormat.csv else to_json(found.rows))


def main(arguments: list[str] | None = None, *, command: str | None = None) -> None:
    """Run the command and exit: 0 done, 1 incomplete, 2 configuration error, 130 interrupted.

    Args:
        arguments: By default those of the process.
        command: The subcommand that ``arguments`` belong to, where they do not name it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    program = program_name()
    terminate_as_interrupt()
    expect_first_contact()
    try:
        status = app([command, *arguments] if command else arguments, prog_name=program, standalone_mode=False) or 0
    except (ConfigurationError, StorageError, TrainingError) as error:
        typer.echo(f"error: {error}", err=True)
        status = 1 if isinstance(error, TrainingError) else 2
    except typer.Exit as stop:
        status = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except USAGE_ERROR as error:
        error.show()
        status = 2
    except SystemExit as stop:
        if not terminated_by_ray(stop):
            raise
        status = INTERRUPTED
    if status == INTERRUPTED:  # typer, too, turns Ctrl-C into this status
        resume = resume_command(program, arguments)
        typer.echo(f"\nInterrupted. What is done is kept. Resume with:\n  {resume}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
