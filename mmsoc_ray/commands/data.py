"""``mmsoc data``: turn sources of posts into shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmsoc_ray.commands.options import EndpointOption
from mmsoc_ray.invocation import refuse_vanishing

data_app = typer.Typer(help="Turn sources of posts into shards.", no_args_is_help=True)

OutputOption = Annotated[str, typer.Option("--output", help="Where the shards go: a folder or s3://BUCKET/PREFIX.")]


@data_app.command()
def prepare(
    mapping: Annotated[str, typer.Argument(help="Mapping (YAML file), or the name of a published one.")],
    source: Annotated[
        str, typer.Option("--source", help="A folder, s3://BUCKET/PREFIX or hf://datasets/NAME@REVISION.")
    ],
    output: OutputOption,
    splits: Annotated[
        str | None, typer.Option("--splits", help="official, head_80_10_10, ...; instead of the mapping's.")
    ] = None,
    posts_per_unit: Annotated[
        int | None, typer.Option("--posts-per-unit", min=1, help="Posts of a unit of work; instead of the mapping's.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing where a row would be dropped.")] = False,
    address: Annotated[
        str | None, typer.Option("--address", help="Ray cluster; by default $RAY_ADDRESS, else Ray starts here.")
    ] = None,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Turn tables and pictures into shards by a mapping. The same source gives the same bytes."""
    from mmsoc_ray.commands.preparing import prepare_dataset
    from mmsoc_ray.config.mapping import load_mapping, with_splits
    from mmsoc_ray.data import open_storage

    chosen = load_mapping(mapping)
    if splits is not None:
        chosen = with_splits(chosen, splits)
    if posts_per_unit is not None:
        chosen = chosen.model_copy(update={"posts_per_unit": posts_per_unit})
    refuse_vanishing("--output", output)
    if chosen.assumed:
        typer.echo(f"note: the layout of {mapping} is assumed: {chosen.assumed}", err=True)
    data = open_storage(output)
    prepared = prepare_dataset(chosen, source, data, strict=strict, address=address)
    for line in prepared.report.lines():
        typer.echo(line)
    typer.echo(f"shards and report.json  {data.uri}/{chosen.dataset}")
    if prepared.others:
        typer.echo(
            f"note: {', '.join(prepared.others)} stood there before and was not written now; if it holds the same "
            f"posts under another division, remove its folder.",
            err=True,
        )


@data_app.command()
def mappings() -> None:
    """List the published mappings."""
    from mmsoc_ray.data.sources import load_mapping, published_mappings

    for name in published_mappings():
        mapping = load_mapping(name)
        typer.echo(f"{name:28} {mapping.source}" + (" (assumed layout)" if mapping.assumed else ""))


@data_app.command()
def demo(output: OutputOption, s3_endpoint: EndpointOption = None) -> None:
    """Write the demo data."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.data.demo_shards import write_demo

    refuse_vanishing("--output", output)
    write_demo(open_storage(output))
    typer.echo(f"demo data written to {output}")


@data_app.command("twitter-sarcasm")
def twitter_sarcasm(
    source: Annotated[Path, typer.Option("--source", help="Folder of sarcasm_*.json and sarcasm_keyinfo_*.jsonl.")],
    output: OutputOption,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Write the tweets of Twitter Sarcasm as MIKO's repository publishes them (texts and labels, no pictures)."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.data.twitter_sarcasm import write_twitter_sarcasm

    refuse_vanishing("--output", output)
    for manifest in write_twitter_sarcasm(source, open_storage(output)):
        typer.echo(f"{manifest.dataset}/{manifest.split}: {manifest.posts:,} posts")
