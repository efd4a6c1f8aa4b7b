"""``mmsoc explain``: a teacher says why the labels of a split hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsoc_ray.commands.options import (
    AddressOption,
    DataOption,
    EndpointOption,
    GridArgument,
    LimitOption,
    OutputOption,
    ReuseOption,
    TasksOption,
    names,
    reuse_policy,
)
from mmsoc_ray.errors import StorageError
from mmsoc_ray.invocation import refuse_vanishing
from mmsoc_ray.tasks import EXPLANATION_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from mmsoc_ray.data import Storage
    from mmsoc_ray.grid import GridPlan
    from mmsoc_ray.training.explanation_report import ExplanationReport


def explain(
    grid: GridArgument,
    output: OutputOption = "mmsoc-output",
    run_id: Annotated[
        str | None, typer.Option("--run-id", help="Name of the run and of its file; by default explain-GRID.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="Model that is asked; by default the only one that is no baseline.")
    ] = None,
    tasks: TasksOption = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Split whose labels are explained; by default the fit_split.")
    ] = None,
    limit: LimitOption = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, max=4096, help="Explanations are cut after so many tokens.")
    ] = EXPLANATION_TOKENS,
    data: DataOption = None,
    s3_endpoint: EndpointOption = None,
    address: AddressOption = None,
    reuse: ReuseOption = "same_version",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Ask a teacher why the labels of a split hold, and write what can be learnt. The same command again resumes."""
    from rich.console import Console

    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid import RunProgress, execute, open_run
    from mmsoc_ray.grid.explain import write_explanations

    policy = reuse_policy(reuse)
    refuse_vanishing("--output", output)
    root = open_storage(output)
    with RunProgress() as progress:
        chosen = (teacher, names(tasks), split, max_new_tokens)
        planned, posts = _plan(grid, *chosen, data, limit, progress.phase, address)
        run = open_run(planned, posts, root, run_id or f"explain-{planned.grid.name}", progress.phase)
        try:
            result = None if run.finished() else execute(run, progress, address=address, reuse=policy)
        except StorageError as error:
            typer.echo(f"error: {error}\nThe same command takes the run up where it stands.", err=True)
            raise typer.Exit(1) from error
    if result is not None and (result.incomplete or not result.sealed):
        for cell in result.incomplete:
            typer.echo(cell.shortfall, err=True)
        typer.echo("The teacher was not asked all; no file is written. The same command takes the run up.", err=True)
        raise typer.Exit(1)
    report = write_explanations(run)
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    Console().print(report_table(report))
    typer.echo(f"explanations  {root.uri}/{report.file}\nin a recipe   explanations: {root.uri}/{report.file}")
    typer.echo(f"all answers   {root.uri}/{run.folder.root}")
    said = "Nothing was left to ask. No engine was called." if result is None else result.taken_over
    if said:
        typer.echo(said)


def report_table(report: ExplanationReport) -> RenderableType:
    """Return what became of the explanations, a line for each task."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    table = Table(pad_edge=False, box=None)
    table.add_column("task", style="bold", no_wrap=True)
    for name in ("asked", "kept", "shortened"):
        table.add_column(name, justify="right")
    table.add_column("left out")
    for task, count in [*report.tasks.items(), ("all", report.together)]:
        left_out = ", ".join(f"{number:,} {rule}" for rule, number in count.filtered.items() if number)
        table.add_row(escape(task), f"{count.asked:,}", f"{count.kept:,}", f"{count.shortened:,}", left_out)
    return Group(f"explanations of {escape(report.source)}", table)


def _plan(
    grid: Path,
    teacher: str | None,
    tasks: tuple[str, ...] | None,
    split: str | None,
    max_new_tokens: int,
    data: str | None,
    limit: int | None,
    phase: Callable[[str], None],
    address: str | None,
) -> tuple[GridPlan, Storage]:
    from mmsoc_ray.commands.preparing import open_posts
    from mmsoc_ray.config import load_grid
    from mmsoc_ray.grid import plan_grid
    from mmsoc_ray.grid.explain import check_teacher, explaining_grid

    loaded = load_grid(grid)
    asking = explaining_grid(loaded, teacher=teacher, tasks=tasks, split=split, max_new_tokens=max_new_tokens)
    posts = open_posts(asking, grid, data, phase, address=address)
    planned = plan_grid(asking, posts, limit=limit)
    check_teacher(planned, posts)
    return planned, posts
