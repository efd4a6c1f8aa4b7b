"""``mmsoc models``: which models a grid can name, and how each is asked and answers."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mmsoc_ray.commands.options import EndpointOption
from mmsoc_ray.data import Storage, open_storage
from mmsoc_ray.errors import ConfigurationError, unknown_name
from mmsoc_ray.invocation import refuse_vanishing
from mmsoc_ray.models import ModelEntry, PulledWeights, answerable, checkpoint_address, get_model, model_names
from mmsoc_ray.models.weights import pulled_below, read_weights
from mmsoc_ray.results import printable

EXAMPLE = "Is this meme humorous? Answer 'humorous' or 'not_humorous'."
"""The question that is shown in a model's frame: MM-Soc's prompt of the task humor."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class _NameOrCommand(TyperGroup):
    """Takes a model's name where a subcommand stands: ``mmsoc models NAME`` is ``mmsoc models show NAME``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the subcommand, or ``show`` for anything that is no subcommand."""
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["show", *args])


models_app = typer.Typer(
    cls=_NameOrCommand,
    invoke_without_command=True,
    help="List the models that a grid can name, describe one (NAME), or pull their weights.",
)


@models_app.callback()
def models(
    context: typer.Context,
    as_json: JsonOption = False,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Show what is pulled here: a folder or s3://BUCKET/PREFIX.")
    ] = None,
    s3_endpoint: EndpointOption = None,
) -> None:
    """List the models that a grid can name, describe one (``mmsoc models NAME``), or pull their weights."""
    if context.invoked_subcommand is not None:
        return
    if weights is not None:
        root = open_storage(weights)
        typer.echo(_pulled_json(root) if as_json else "\n".join(_pulled(root)))
        return
    entries = [get_model(name) for name in model_names()]
    if as_json:
        typer.echo(json.dumps([_content(entry) for entry in entries], indent=1))
        return
    typer.echo("\n".join(_listed(entries)))


@models_app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a model.", metavar="NAME")],
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Folder of its checkpoint, to show its own chat template.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Describe a model: prompt on an example, decoding, needs, source, licence."""
    if name not in model_names():
        raise unknown_name("model", name, model_names(), where="mmsoc models")
    entry = get_model(name)
    if as_json:
        typer.echo(json.dumps(_content(entry), indent=1))
    else:
        typer.echo("\n".join(_describe(entry, checkpoint)))


@models_app.command()
def pull(
    names: Annotated[list[str], typer.Argument(help="Models, or hub ids OWNER/NAME.", metavar="NAME...")],
    output: Annotated[str, typer.Option("--output", help="Where they go: a folder or s3://BUCKET/PREFIX.")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Commit, branch or tag of the hub; by default its head.")
    ] = None,
    s3_endpoint: EndpointOption = None,
) -> None:
    """Bring weights from the hub to a folder or S3, checked; what is there already stays. HF_TOKEN says who asks."""
    from mmsoc_ray.models.pull import pull as pull_weights
    from mmsoc_ray.models.pull import wanted

    refuse_vanishing("--output", output)
    if revision is not None and len(names) > 1:
        raise ConfigurationError(
            f"--revision {revision} belongs to one model, not to {len(names)}. Pull them one by one."
        )
    root = open_storage(checkpoint_address(output))
    for model in [wanted(name, revision) for name in names]:
        done = pull_weights(model, root, lambda line: typer.echo(printable(line)))
        brought = f"{done.transferred} files pulled" if done.transferred else "was there already, nothing to do"
        typer.echo(f"{model.name}: {brought}")
        typer.echo("\n".join(_weights_lines(done.folder, done.weights)))
        told = "" if model.name == model.checkpoint else f"weights: {root.uri}, or "
        typer.echo(f"  grid      {told}checkpoint: {done.folder}")


def _pulled(root: Storage) -> Iterator[str]:
    found = pulled_below(root)
    if not found:
        raise ConfigurationError(
            f"--weights {root.uri}: nothing is pulled there (no OWNER/NAME/COMMIT/model.json). Pull a model: "
            f"mmsoc models pull NAME --output {root.uri}"
        )
    names = {entry.checkpoint: entry.name for entry in map(get_model, model_names())}
    for path in found:
        folder = open_storage(f"{root.uri}/{path}")
        checkpoint = path.rpartition("/")[0]
        yield printable(f"{names.get(checkpoint, '(not in the registry)')}: {checkpoint}")
        try:
            yield from _weights_lines(folder.uri, read_weights(folder))
        except ConfigurationError as error:
            # One pull that is torn must not hide the others.
            yield f"  cannot be used: {printable(str(error))}"


def _pulled_json(root: Storage) -> str:
    folders = [open_storage(f"{root.uri}/{path}") for path in pulled_below(root)]
    return json.dumps([{"folder": folder.uri, **read_weights(folder).model_dump()} for folder in folders], indent=1)


def _weights_lines(folder: str, weights: PulledWeights) -> Iterator[str]:
    yield f"  revision  {printable(weights.revision)}"
    yield f"  files     {len(weights.files)}, {weights.size / 1e9:.2f} GB"
    yield f"  digest    {weights.digest}"
    yield f"  licence   {printable(weights.licence or 'not stated by the card')}"
    yield f"  folder    {folder}"


def _listed(entries: list[ModelEntry]) -> Iterator[str]:
    """Yield the models by family, with the settings that all of a family answer."""
    width = max(len(entry.name) for entry in entries)
    entries = sorted(entries, key=lambda entry: (entry.family, entry.settings, entry.parameters_b))
    for (family, settings), members in itertools.groupby(entries, lambda entry: (entry.family, entry.settings)):
        yield f"{family}: {', '.join(settings)}"
        for entry in members:
            size = f"{entry.parameters_b:>6.4g} B {entry.weights_gb('bfloat16'):>6.1f} GB" if entry.parameters_b else ""
            yield f"  {entry.name:{width}} {size:18}  {entry.engine:12}  {entry.checkpoint}".rstrip()
    yield "\nB: billions of parameters; GB: their weights in bfloat16. mmsoc models NAME describes one."


def _content(entry: ModelEntry) -> dict[str, Any]:
    memory = {dtype: round(entry.weights_gb(dtype), 3) for dtype in ("bfloat16", "float16", "float32")}
    return {**dataclasses.asdict(entry), "weights_gb": memory}


def _describe(entry: ModelEntry, checkpoint: Path | None) -> Iterator[str]:
    yield entry.name
    yield f"family       {entry.family}, {entry.parameters_b:.4g} billion parameters"
    yield f"engine       {entry.engine}" + (f" ({entry.architecture})" if entry.architecture else "")
    yield f"settings     {', '.join(answerable(entry))}"
    if entry.sees_pictures:
        why = f"with their pictures ({entry.several_pictures})" if entry.several_pictures else "as texts"
        yield f"examples     {why}"
    if entry.checkpoint:
        revision = entry.revision or "not pinned here: resolved at the first fetch and recorded"
        local = entry.checkpoint.startswith("demo:")
        yield f"checkpoint   {entry.checkpoint}" + ("" if local else f", revision {revision}")
    if entry.loads_weights:
        sizes = ", ".join(f"{entry.weights_gb(dtype):.1f} GB in {dtype}" for dtype in ("bfloat16", "float32"))
        yield f"weights      {sizes} (computed from the parameters)"
        yield f"needs        {_needs(entry)}"
    if entry.engine != "baseline":
        yield f"decoding     {_decoding(entry)}"
    yield f"source       {entry.source}"
    yield f"licence      {entry.licence or 'not known here; see the card of its weights'}"
    if entry.note:
        yield f"note         {entry.note}"
    if entry.engine != "baseline":
        yield "\nprompt, on an example:"
        yield from (f"  {line}".rstrip() for line in _framed(entry, checkpoint).splitlines())


def _needs(entry: ModelEntry) -> str:
    if entry.gpus == 0:
        return "no GPU"
    split = f", each layer split over {entry.tensor_parallel}" if entry.tensor_parallel > 1 else ""
    return f"{entry.gpus} GPU{'s' if entry.gpus > 1 else ''} of 80 GB{split}"


def _decoding(entry: ModelEntry) -> str:
    named = ("do_sample", "num_beams")
    changed = {name: value for name, value in entry.decoding.content().items() if name not in named}
    how = "sampled" if entry.decoding.samples else "greedy"
    if entry.decoding.num_beams > 1:
        how = f"beam search over {entry.decoding.num_beams} beams"
    limit = entry.decoding.max_new_tokens
    cut = f"at most {limit} tokens" if limit else "at most as many tokens as the task says"
    return ", ".join([how, *(f"{name} {value}" for name, value in changed.items()), cut])


def _framed(entry: ModelEntry, checkpoint: Path | None) -> str:
    """Return the example in the model's frame; a chat template needs the checkpoint that holds it."""
    if checkpoint is not None:
        from mmsoc_ray.engines.checkpoint import load_wrapper

        return load_wrapper(checkpoint, entry).wrap(["", EXAMPLE] if entry.sees_pictures else [EXAMPLE])
    if entry.engine == "endpoint":
        return f"(one user message to the server: the picture, then the question)\n{EXAMPLE}"
    if entry.prompt_template == "chat":
        return f"(in the checkpoint's own chat template; --checkpoint FOLDER shows it)\n{EXAMPLE}"
    return entry.prompt_template.format(prompt=EXAMPLE, image="<image>")
