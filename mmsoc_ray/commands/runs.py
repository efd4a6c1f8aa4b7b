"""Commands over finished runs: score again, audit, and clear away what nothing refers to."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsoc_ray.commands.options import AddressOption, EndpointOption, OutputOption, RunArgument, split_run
from mmsoc_ray.errors import ConfigurationError

if TYPE_CHECKING:
    from mmsoc_ray.grid.record import RunRecord
    from mmsoc_ray.grid.seal import RunTasks

FEW = 64
"""So many units and cells are worked off in this process: Ray would take longer to start."""


def aggregate(
    run: RunArgument,
    output: OutputOption = "mmsoc-output",
    address: AddressOption = None,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Score a run's predictions again, as this version reads answers. No engine is asked."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid.record import read_record
    from mmsoc_ray.grid.run_folder import RunFolder
    from mmsoc_ray.grid.scores import rescore

    root_uri, run_id = split_run(run, output)
    root, folder = open_storage(root_uri), RunFolder(run_id)
    record = read_record(root, folder)
    unsealed: list[str] = []
    cells = rescore(root, folder, record, _run_tasks(record, address), unsealed.append)
    incomplete = [cell for cell in cells if not cell.complete]
    typer.echo(
        f"Aggregated {len(cells) - len(incomplete)} of {len(cells)} cells of run {run_id!r}. No engine was called."
    )
    typer.echo(f"table again  mmsoc table {root.uri}/{folder.root}")
    for cell in incomplete:
        typer.echo(cell.shortfall, err=True)
    for problem in unsealed:
        typer.echo(problem, err=True)
    if incomplete or unsealed:
        raise typer.Exit(1)


def verify(
    run: RunArgument,
    output: OutputOption = "mmsoc-output",
    every: Annotated[bool, typer.Option("--all", help="Go on after the first lie and print every one.")] = False,
    address: AddressOption = None,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Count and compute all that a run claims again, from its files. Ends with 1 at the first lie."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid.audit import Audit, audit_run, read_audited
    from mmsoc_ray.grid.run_folder import RunFolder

    root_uri, run_id = split_run(run, output)
    root, folder = open_storage(root_uri), RunFolder(run_id)
    record, lie = read_audited(root, folder)
    audit = Audit()
    lies: Iterable[str] = () if lie is None else (lie,)
    if record is not None:
        lies = itertools.chain(lies, audit_run(root, folder, record, _run_tasks(record, address), audit))
    found = 0
    for lie in lies:
        found += 1
        typer.echo(f"lie: {lie}", err=True)
        if not every:
            break
    if found:
        raise typer.Exit(1)
    typer.echo(
        f"Run {run_id!r} holds what it claims: {audit.units:,} units, {audit.rows:,} predictions with their keys, "
        f"{audit.cells:,} cells and the table, all computed again."
    )
    for line in audit.incomplete:
        typer.echo(f"incomplete, as the run says itself: {line}")


def gc(
    output: OutputOption = "mmsoc-output",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, help="Leave files younger than so many hours.")
    ] = 24.0,
    unfinished: Annotated[
        float | None,
        typer.Option("--unfinished", min=0, help="Also runs and trainings not finished and idle for so many days."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    s3_endpoint: EndpointOption = None,
) -> None:
    """List and remove what no manifest or card refers to: leftovers of configurations and trainings, broken writes."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid.garbage import Garbage, find_garbage, in_order_of_removal

    root = open_storage(output)

    def find() -> list[Garbage]:
        idle = None if unfinished is None else timedelta(days=unfinished)
        now = datetime.now(UTC)
        return list(find_garbage(root, now=now, older_than=timedelta(hours=older_than), unfinished=idle))

    garbage = find()
    size = sum(item.file.size for item in garbage)
    if as_json:
        listed = [{"path": item.file.path, "bytes": item.file.size, "reason": item.reason} for item in garbage]
        typer.echo(json.dumps(listed, indent=1))
    else:
        for item in garbage:
            typer.echo(f"{item.file.size:>12,}  {item.file.path}  ({item.reason})")
        typer.echo(f"{len(garbage):,} files, {size:,} bytes below {root.uri} that no manifest or card refers to.")
    if dry_run or not garbage:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("mmsoc gc removes nothing unasked: add --yes, or --dry-run to list only.")
        if not typer.confirm("Remove them?"):
            return
    # A run may have been taken up while somebody read the list: only what is garbage still goes.
    still = {item.file.path for item in find()}
    removed = in_order_of_removal(item.file.path for item in garbage if item.file.path in still)
    for path in removed:
        root.delete(path)
    typer.echo(f"Removed {len(removed):,} files.", err=as_json)


def _run_tasks(record: RunRecord, address: str | None) -> RunTasks:
    """Return what runs functions: this process where a run has little to do, else Ray."""
    work = sum(len(model.units) + len(model.cells) for model in record.models)
    if work <= FEW and address is None:
        return _run_here
    from mmsoc_ray.grid.stream import run_tasks, start_ray

    start_ray(address)
    return run_tasks


def _run_here(function: Callable[..., Any], calls: Sequence[Sequence[Any]], *, together: int = 1) -> Iterator[Any]:
    return itertools.starmap(function, calls)
