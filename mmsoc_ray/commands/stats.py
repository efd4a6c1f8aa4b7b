"""``mmsoc stats``: where the time of a run went."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mmsoc_ray.commands.options import EndpointOption, OutputOption, RunArgument, split_run
from mmsoc_ray.errors import ConfigurationError


def stats(
    run: RunArgument,
    output: OutputOption = "mmsoc-output",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Print how fast a run's models answered, what starting took, memory, and where the time went."""
    from rich.console import Console

    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid.record import read_record
    from mmsoc_ray.grid.run_folder import RunFolder
    from mmsoc_ray.grid.stats import read_stats
    from mmsoc_ray.grid.stats_table import stats_content, stats_tables

    root_uri, run_id = split_run(run, output)
    root, folder = open_storage(root_uri), RunFolder(run_id)
    read_record(root, folder)
    jobs = read_stats(root, folder, lambda problem: typer.echo(problem, err=True))
    if not jobs:
        raise ConfigurationError(
            f"{root.uri}/{folder.root} has no statistics: no process that kept some has answered anything there yet. "
            f"Every run that this version of mmsoc_ray starts keeps them, written every half minute."
        )
    if as_json:
        typer.echo(json.dumps([stats_content(job) for job in jobs], indent=1))
    else:
        Console().print(stats_tables(jobs))
