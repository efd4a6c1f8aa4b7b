"""``mmsoc datasets``: which data sets are known, and which are prepared below a root."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from mmsoc_ray.data import Storage, open_storage, read_manifest
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.results import printable

datasets_app = typer.Typer(invoke_without_command=True, help="List the data sets: those known, or those prepared.")


@datasets_app.callback()
def datasets(
    data: Annotated[
        str | None, typer.Option("--data", help="Show what is prepared here: a folder or s3://BUCKET/PREFIX.")
    ] = None,
) -> None:
    """List the data sets that are known with tasks, source and licence; with --data what is prepared there."""
    lines = _known() if data is None else _prepared(open_storage(data))
    typer.echo("\n".join(lines))


def _known() -> Iterator[str]:
    # Drawing the demo's vocabulary takes a moment, which --data need not wait for.
    from mmsoc_ray.data.catalogue import catalogue

    said: dict[str, str] = {}
    for dataset in catalogue():
        licence = f"as {said[dataset.licence]}" if dataset.licence in said else dataset.licence
        said.setdefault(dataset.licence, dataset.name)
        yield dataset.name
        yield f"  tasks    {', '.join(dataset.tasks)}"
        yield f"  posts    {dataset.splits}"
        yield f"  source   {dataset.source}"
        yield f"  licence  {licence}"
    yield "\nmmsoc datasets --data ROOT shows what is prepared below a root. Any other set of posts can be prepared."


def _prepared(data: Storage) -> Iterator[str]:
    found = [path.split("/")[:2] for path in data.list_files("") if _is_manifest(path)]
    if not found:
        raise ConfigurationError(
            f"--data {data.uri}: nothing is prepared there (no <dataset>/<split>/manifest.json). Prepare a data set, "
            f"for example with: mmsoc data demo --output {data.uri}"
        )
    for dataset, split in found:
        try:
            manifest = read_manifest(data, dataset, split)
        except ConfigurationError as error:
            # One split that is torn must not hide the others.
            yield f"{printable(f'{dataset}/{split}')}\n  cannot be used: {printable(str(error))}"
            continue
        tasks = (f"{task} {count:,}" for task, count in manifest.tasks.items())
        yield f"{printable(f'{dataset}/{split}')}: {manifest.posts:,} posts"
        yield f"  targets  {printable(', '.join(tasks) or '(none)')}"
        yield f"  source   {printable(manifest.source or 'not recorded')}"
        yield f"  licence  {printable(manifest.licence or 'not recorded')}"
        yield f"  digest   {manifest.digest}"


def _is_manifest(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and parts[2] == "manifest.json"
