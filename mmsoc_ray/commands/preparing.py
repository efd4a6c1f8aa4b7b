"""Preparing a dataset by its mapping: at a command, or on the way to a run whose grid holds the mapping."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import typer

from mmsoc_ray.config import Grid
from mmsoc_ray.config.mapping import SourceMapping
from mmsoc_ray.data import Storage, open_storage, read_manifest
from mmsoc_ray.data.demo_shards import cached_demo
from mmsoc_ray.data.sources import Prepared, fetch_from_hub, prepare_source
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.invocation import refuse_vanishing

RECORD = "prepared.json"
"""File beside the splits that says by which mapping and from which source they were prepared; written last."""


def open_posts(
    grid: Grid, file: Path, data: str | None, phase: Callable[[str], None], *, address: str | None = None
) -> Storage:
    """Return the data of a grid; the demo's is built, and what its mappings describe prepared, where it is not there.

    Args:
        grid: The grid.
        file: Its file.
        data: Root of the datasets, instead of the grid's.
        phase: Is told what takes its time.
        address: Ray cluster to join.

    Raises:
        ConfigurationError: As ``prepare_missing``, and where the folder would vanish with a submitted job.
    """
    where = data or grid.data
    if where == "demo":
        return cached_demo(phase)
    refuse_vanishing("--data" if data else f"{file}: data", where)
    posts = open_storage(where)
    prepare_missing(grid, posts, phase, address=address)
    return posts


def prepare_missing(grid: Grid, data: Storage, phase: Callable[[str], None], *, address: str | None = None) -> None:
    """Prepare the datasets whose mappings a grid holds, where they do not stand there by those mappings already.

    That a source's files have changed since is not seen.

    Args:
        grid: The grid.
        data: Root of all datasets.
        phase: Is told what takes its time.
        address: Ray cluster to join.

    Raises:
        ConfigurationError: As ``prepare_dataset`` raises it.
    """
    for name, choice in grid.datasets.items():
        if choice.mapping is None or choice.source is None:
            continue
        refuse_vanishing(f"datasets.{name}.source", choice.source)
        if _stands(choice.mapping, choice.source, data, choice.split or grid.defaults.split):
            continue
        phase(f"preparing {name} from {choice.source} (once)")
        prepared = prepare_dataset(choice.mapping, choice.source, data, address=address)
        for line in prepared.report.lines():
            typer.echo(line, err=True)
        typer.echo(f"shards  {data.uri}/{name}: remove them to have {choice.source} read again", err=True)


def prepare_dataset(
    mapping: SourceMapping, source: str, data: Storage, *, strict: bool = False, address: str | None = None
) -> Prepared:
    """Convert a source, and note beside the shards by which mapping.

    Args:
        mapping: What becomes what.
        source: A folder, ``s3://BUCKET/PREFIX`` or ``hf://datasets/OWNER/NAME@REVISION``.
        data: Root of all datasets.
        strict: Write nothing where a row would be dropped.
        address: Ray cluster to join.

    Raises:
        ConfigurationError: As ``prepare_source`` raises it, and where a store does not answer.
    """
    from mmsoc_ray.grid.ordered import map_in_order  # brings Ray

    refuse_vanishing("--source", source)
    record = _record(mapping, source)
    if source.startswith("hf://"):
        copy = fetch_from_hub(source, mapping)
        note = f"{mapping.source}; fetched as {copy.address}".removeprefix("; ")
        source, mapping = str(copy.folder), mapping.model_copy(update={"source": note})
    workers = functools.partial(map_in_order, address=address)
    noted = f"{mapping.dataset}/{RECORD}"
    try:
        if data.exists(noted) and data.read(noted) != record:
            data.write(noted, b"")  # what it says is about to become untrue
        prepared = prepare_source(mapping, open_storage(source), data, strict=strict, map_slices=workers)
        data.write(noted, record)
    except OSError as error:
        cause = getattr(error, "cause", error)  # Ray's error quotes the whole worker
        raise ConfigurationError(
            f"{cause}. What was written is not valid yet; the same command starts again."
        ) from error
    return prepared


def _record(mapping: SourceMapping, source: str) -> bytes:
    tasks = {name: mapping.own_tasks[name].model_dump(mode="json") for name in sorted(mapping.own_tasks)}
    content = {"mapping": mapping.model_dump(mode="json", exclude_defaults=True), "own_tasks": tasks, "source": source}
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _stands(mapping: SourceMapping, source: str, data: Storage, split: str) -> bool:
    noted = f"{mapping.dataset}/{RECORD}"
    if not data.exists(noted) or data.read(noted) != _record(mapping, source):
        return False
    try:
        read_manifest(data, mapping.dataset, split)
    except ConfigurationError:  # a conversion was cut short
        return False
    return True
