"""``mmsoc adapters``: which adapters a root keeps, how two differ, and one merged into a plain checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mmsoc_ray.commands.options import EndpointOption, OutputOption
from mmsoc_ray.errors import ConfigurationError

if TYPE_CHECKING:
    from mmsoc_ray.models import ModelEntry
    from mmsoc_ray.training import AdapterCard, CurvePoint

NameArgument = Annotated[str, typer.Argument(help="Name of an adapter.", metavar="NAME")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _RootOrCommand(TyperGroup):
    """Takes a root where a subcommand stands: ``mmsoc adapters ROOT`` is ``mmsoc adapters list ROOT``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the subcommand, or ``list`` for anything that is no subcommand."""
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["list", *args])


adapters_app = typer.Typer(
    cls=_RootOrCommand,
    no_args_is_help=True,
    help="List the adapters below an output root (ROOT), show or compare them, or export one merged into its base.",
)


@adapters_app.command("list")
def list_root(
    root: Annotated[str, typer.Argument(help="Output root: a folder or s3://BUCKET/PREFIX.", metavar="ROOT")],
    as_json: JsonOption = False,
    s3_endpoint: EndpointOption = None,
) -> None:
    """List the adapters below an output root with what they were trained on, and how far."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from mmsoc_ray.data import open_storage
    from mmsoc_ray.training import list_adapters

    cards = list_adapters(open_storage(root))
    if as_json:
        typer.echo(json.dumps([card.model_dump(mode="json") for card in cards], indent=1))
        return
    if not cards:
        typer.echo(
            f"{root}/adapters keeps none. mmsoc run GRID --output {root} --with-training trains those of a grid."
        )
        return
    table = Table(box=None, pad_edge=False)
    for name in ("adapter", "model", "method", "rank", "samples", "steps", "loss", "validation", "created"):
        table.add_column(
            name, overflow="fold", justify="right" if name in ("rank", "samples", "steps", "loss") else "left"
        )
    for card in cards:
        rank, loss = "" if card.rank is None else str(card.rank), last_loss(card)
        counts = (rank, f"{card.samples:,}", f"{card.steps:,}", "" if loss is None else f"{loss:.3f}")
        row = (card.name, card.model, card.method, *counts, _validated(card), card.created_at[:16])
        table.add_row(*map(escape, row))
    Console().print(table)


@adapters_app.command()
def show(
    name: NameArgument,
    output: OutputOption = "mmsoc-output",
    as_json: JsonOption = False,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Show an adapter's card: recipe, data, versions, and its loss and validation on the way."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.training import find_card

    card = find_card(open_storage(output), name)
    content = card.model_dump(mode="json")
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    for field, value in content.items():
        if field != "curves":
            typer.echo(f"{field:13}{json.dumps(value) if isinstance(value, dict) else value}")
    typer.echo("\n    step      loss  learning rate  samples/s  validation")
    for point in card.curves:
        numbers = (point.loss, point.learning_rate, point.samples_per_s)
        loss, rate, speed = ("" if number is None else f"{number:.4g}" for number in numbers)
        typer.echo(f"{point.step:8,}  {loss:>8}  {rate:>13}  {speed:>9}  {_checked(point)}".rstrip())


@adapters_app.command()
def compare(
    one: NameArgument,
    other: Annotated[str, typer.Argument(help="Name of another one.", metavar="OTHER")],
    output: OutputOption = "mmsoc-output",
    s3_endpoint: EndpointOption = None,
) -> None:
    """Print what differs between two adapters: recipe, base, data, versions, and what came out."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid.keys import differences
    from mmsoc_ray.training import find_card

    root = open_storage(output)
    lines = differences(_compared(find_card(root, one)), _compared(find_card(root, other)))
    typer.echo("\n".join([f"{one} -> {other}", *(f"  {line}" for line in lines)]))
    if not lines:
        typer.echo("  nothing differs but their names")


@adapters_app.command()
def export(
    name: NameArgument,
    folder: Annotated[Path, typer.Argument(help="Where the checkpoint goes: a folder that does not exist yet.")],
    output: OutputOption = "mmsoc-output",
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Folder of the base, where the registry does not know the model.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Root of the pulled weights of a model of the registry.")
    ] = None,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Merge an adapter into its base: a plain checkpoint folder that transformers and vLLM load."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.models import checkpoint_digest, locate_weights, resolve_checkpoint
    from mmsoc_ray.training import check_base, export_adapter, fetch_adapter, find_card

    root = open_storage(output)
    card = find_card(root, name)
    entry = _base_of(card, checkpoint)
    entry = entry if weights is None else locate_weights(entry, weights)
    check_base(card, checkpoint_digest(entry), model=entry.name)
    written = export_adapter(resolve_checkpoint(entry), fetch_adapter(root, card), folder)
    typer.echo(f"{name} merged into {card.model}: {written}")
    typer.echo(f"  grid  models: {{{name}: {{checkpoint: {written}}}}}")


def last_loss(card: AdapterCard) -> float | None:
    """Return the last training loss of an adapter."""
    return next((point.loss for point in reversed(card.curves) if point.loss is not None), None)


def _validated(card: AdapterCard) -> str:
    """Return what was measured at the step whose weights the adapter has, else the last that was measured."""
    checked = [point for point in card.curves if point.validation_loss is not None or point.validation]
    kept = next((point for point in checked if point.step == card.best_step), checked[-1] if checked else None)
    return "" if kept is None else _checked(kept)


def _checked(point: CurvePoint) -> str:
    loss = [] if point.validation_loss is None else [f"loss {point.validation_loss:.3f}"]
    return ", ".join([*loss, *(f"{metric} {value:.3f}" for metric, value in sorted(point.validation.items()))])


def _compared(card: AdapterCard) -> Mapping[str, Any]:
    content = card.model_dump(mode="json", exclude={"name", "files", "digest", "created_at", "curves", "version"})
    return {**content, "last_loss": last_loss(card), "validation": _validated(card)}


def _base_of(card: AdapterCard, checkpoint: str | None) -> ModelEntry:
    from mmsoc_ray.models import get_model, model_names
    from mmsoc_ray.models.own import own_entry

    if checkpoint is not None:
        return own_entry(card.model, checkpoint)
    if card.model not in model_names():
        raise ConfigurationError(
            f"adapter {card.name} belongs to {card.model}, which the registry does not know. Name the folder of its "
            f"base: --checkpoint FOLDER."
        )
    return get_model(card.model)
