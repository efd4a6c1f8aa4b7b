"""``mmsoc tasks``: which tasks there are, what each asks, how answers are read and scored; and checks one's own."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mmsoc_ray.data import Post
from mmsoc_ray.errors import unknown_name
from mmsoc_ray.results import printable
from mmsoc_ray.tasks import LABEL_RULES, TASKS, Task, render

EXAMPLE = Post(
    sample_id="1",
    dataset="example",
    split="test",
    text="My cat found the printer again",
    transcription="WHEN YOU FIND THE BOX",
)
"""The post on which prompts are shown."""

_INDENT = "  "


class _NameOrCommand(TyperGroup):
    """Takes a task's name where a subcommand stands: ``mmsoc tasks humor`` is ``mmsoc tasks show humor``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the subcommand, or ``show`` for anything that is no subcommand."""
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["show", *args])


tasks_app = typer.Typer(
    cls=_NameOrCommand, invoke_without_command=True, help="List the tasks, describe one (NAME), or check one's own."
)


@tasks_app.callback()
def tasks(context: typer.Context) -> None:
    """List the tasks, describe one (``mmsoc tasks NAME``), or check one's own (``mmsoc tasks check FILE``)."""
    if context.invoked_subcommand is not None:
        return
    width = max(map(len, TASKS))
    kinds = max(len(task.kind) for task in TASKS.values())
    for task in TASKS.values():
        typer.echo(f"{task.name:{width}}  {task.kind:{kinds}}  {task.description}")
    typer.echo(
        "\nmmsoc tasks NAME shows prompt, labels, parser and metrics of one; mmsoc tasks check FILE checks yours."
    )


@tasks_app.command()
def show(name: Annotated[str, typer.Argument(help="Name of a task.", metavar="NAME")]) -> None:
    """Describe a task: its prompt on an example, labels, parser rules, metrics, source."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS, where="mmsoc tasks")
    typer.echo("\n".join(describe(TASKS[name])))


@tasks_app.command()
def check(file: Annotated[Path, typer.Argument(help="A task of your own (YAML).", metavar="FILE")]) -> None:
    """Validate a task of one's own and show it as it will be asked."""
    from mmsoc_ray.config import load_task_file

    task = load_task_file(file).task()
    typer.echo("\n".join([*describe(task), "", *_warnings(task)]))
    typer.echo(f"{file} is valid. In a grid:  tasks: {{{task.name}: {{file: {file}}}}}")


def describe(task: Task) -> Iterator[str]:
    """Yield the description of a task, line by line, safe to print."""
    yield f"{task.name}: {printable(task.description)}"
    yield f"kind     {task.kind}; answers are cut after {task.max_new_tokens} tokens"
    if task.source:
        yield f"source   {printable(task.source)}"
    for variant in ("official", *task.variants):
        for setting in ("zero_shot", "text_only"):
            yield f"\nprompt, {variant}, in {setting}, on an example post:"
            prompt = render(task, EXAMPLE, setting, variant=variant)
            yield from ((_INDENT + printable(line)).rstrip() for line in prompt.splitlines())
    yield from _labels(task)
    yield from _rules(task)
    yield from _metrics(task)


def _labels(task: Task) -> Iterator[str]:
    if task.vocabulary:
        yield f"\nusual vocabulary, {len(task.vocabulary)} tags; data with others are scored over their own:"
        lines = textwrap.wrap(", ".join(task.vocabulary), 100, break_on_hyphens=False)
        yield from (_INDENT + line for line in lines)
    if not task.labels:
        return
    yield "\nlabels:"
    for label in task.labels:
        word = task.answers.get(label, label)
        asked = f", asked for as {word!r}" if word != label else ""
        positive = ", the positive one" if label == task.positive else ""
        yield f"{_INDENT}{printable(label + asked + positive)}"


def _rules(task: Task) -> Iterator[str]:
    yield "\nhow answers are read:"
    if task.kind != "classification":
        rules = (type(task.parse).__doc__ or "").strip().splitlines()
        yield from ((_INDENT + line.strip()).rstrip() for line in rules)
        return
    yield f"{_INDENT}asked_word: the word that is asked for, whatever its case and quotes; `strict` takes nothing else"
    for rule in LABEL_RULES:
        found = (rule.find.__doc__ or "").partition("\n")[0].removeprefix("Find ")
        yield f"{_INDENT}{rule.name}: {found} Of humor: {rule.example!r}"
    yield f"{_INDENT}the first rule that finds something decides; several labels, or none, leave the answer unparsed"


def _metrics(task: Task) -> Iterator[str]:
    # The metrics' libraries take seconds to import, which listing and checking names need not wait for.
    from mmsoc_ray.metrics.definitions import metric_definition

    yield "\nmetrics:"
    for metric in task.metrics:
        definition = metric_definition(metric, tags=task.kind == "tagging")
        yield f"{_INDENT}{printable(metric)}{': ' if definition else ''}{printable(definition)}"


def _warnings(task: Task) -> Iterator[str]:
    """Yield what is allowed but seldom meant."""
    for word in task.answers.values():
        if word.casefold() not in task.prompt.casefold():
            yield f"note: the prompt does not name the answer word {word!r}; a strict parser takes nothing else"
