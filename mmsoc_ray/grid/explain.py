"""Asking a teacher why labels hold: a run like any other, whose answers become a file of explanations."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from mmsoc_ray.config import Grid, narrow
from mmsoc_ray.data import Storage, read_texts, write_changed
from mmsoc_ray.data.explanations import explanations_content
from mmsoc_ray.errors import ConfigurationError, unknown_name
from mmsoc_ray.grid.keys import digest
from mmsoc_ray.grid.plan import GridPlan, Question
from mmsoc_ray.grid.run import PlannedModel, Run
from mmsoc_ray.grid.seal import read_predictions
from mmsoc_ray.models import get_model, model_names
from mmsoc_ray.tasks import EXPLAIN, Task, get_task, is_explainable, is_official, why_question, why_questions
from mmsoc_ray.training.explanation_report import AskedQuestion, ExplanationReport, Tally
from mmsoc_ray.training.explanations import Explained, judge

CHECKED_POSTS = 100
"""So many posts of a split are looked at for a text, before a teacher that sees no pictures is asked about it."""

_READ = ("post_key", "task", "dataset", "reference", "prompt", "image_sha256", "output", "finish_reason")


def explaining_grid(
    grid: Grid, *, teacher: str | None, tasks: tuple[str, ...] | None, split: str | None, max_new_tokens: int
) -> Grid:
    """Return a grid whose one model is asked why the labels hold, and nothing else.

    Tasks of the grid without labels are left out where ``tasks`` does not name them.

    Args:
        grid: The grid.
        teacher: Which of its models is asked; by default the only one that is no baseline.
        tasks: Only these tasks.
        split: The split whose labels are explained, by default each dataset's ``fit_split``.
        max_new_tokens: Explanations are cut there; a grid's own bounds are those of labels.

    Raises:
        ConfigurationError: There is no such teacher or task, the teacher is a baseline, or a task has no labels.
    """
    name = _teacher(grid, teacher)
    for task in tasks or ():
        if task in grid.tasks and not is_explainable(_task(grid, task)):
            raise ConfigurationError(f"--tasks {task}: {_NO_LABEL.format(kind=_task(grid, task).kind)}")
    labelled = tuple(
        task for task in tasks or grid.tasks if task not in grid.tasks or is_explainable(_task(grid, task))
    )
    if not labelled:
        raise ConfigurationError(f"tasks: {', '.join(grid.tasks)}: {_NO_LABEL.format(kind='of texts only')}")
    narrowed = narrow(grid, models=(name,), tasks=labelled)
    datasets = {
        dataset: choice.model_copy(update={"split": split or choice.fit_split or grid.defaults.fit_split})
        for dataset, choice in narrowed.datasets.items()
    }
    bounds = {"max_new_tokens": max_new_tokens, "scored": False}
    return narrowed.model_copy(
        update={
            "models": {name: narrowed.models[name].model_copy(update={"settings": (EXPLAIN,)})},
            "tasks": {task: choice.model_copy(update=bounds) for task, choice in narrowed.tasks.items()},
            "datasets": datasets,
            "bertscore": None,
        }
    )


_NO_LABEL = "it is {kind}, and a text has no label to explain. Name tasks of the kinds classification and tagging."


def _task(grid: Grid, name: str) -> Task:
    return grid.own_task(name) or get_task(name)


def _teacher(grid: Grid, name: str | None) -> str:
    able = [model for model in grid.models if not _is_baseline(grid, model)]
    if name is None and len(able) != 1:
        raise ConfigurationError(
            f"models: {len(able)} of the grid's models can explain ({', '.join(able) or 'baselines cannot'}). "
            f"Name the one to be asked: --teacher NAME."
        )
    if name is not None and name not in grid.models:
        raise unknown_name("model", name, grid.models, where="--teacher")
    if name is not None and name not in able:
        raise ConfigurationError(
            f"--teacher {name}: a baseline explains nothing. Allowed: {', '.join(able) or '(none)'}."
        )
    return name or able[0]


def _is_baseline(grid: Grid, name: str) -> bool:
    own = grid.models[name].checkpoint is not None or grid.models[name].endpoint is not None
    return not own and name in model_names() and get_model(name).engine == "baseline"


def check_teacher(plan: GridPlan, data: Storage) -> None:
    """Refuse a teacher that sees no pictures where posts have nothing else.

    Raises:
        ConfigurationError: None of the first posts of a split has a text or a transcription.
    """
    (model,) = plan.models
    if model.entry.sees_pictures:
        return
    for name, manifest in model.datasets.items():
        first = itertools.islice(read_texts(data, manifest), CHECKED_POSTS)
        if not any((text or "").strip() for post in first for text in (post.text, post.transcription)):
            raise ConfigurationError(
                f"models.{model.entry.name}: it sees no pictures, and none of the first posts of {name}/"
                f"{manifest.split} has a text or a transcription. Take a teacher that sees pictures, or leave {name} "
                f"out of the grid."
            )


def write_explanations(run: Run) -> ExplanationReport:
    """Judge all that a finished run's teacher said; write what is kept, and the report.

    The same answers give the same bytes, and nothing is written that is there already.
    """
    (model,) = run.models
    tallies = {task: Tally() for task in model.plan.tasks}
    content = explanations_content(_kept(run, model, tallies))
    path = f"explanations/{run.folder.run_id}"
    report = ExplanationReport(
        run_id=run.folder.run_id,
        teacher=model.name,
        source=source_of(model),
        datasets={name: manifest.split for name, manifest in model.plan.datasets.items()},
        limit=model.plan.limit,
        file=f"{path}.parquet",
        sha256=hashlib.sha256(content).hexdigest(),
        questions={question.task: _questions(question) for question in model.plan.questions},
        tasks={task: tally.counts() for task, tally in tallies.items()},
    )
    write_changed(run.root, report.file, content)
    write_changed(run.root, f"{path}.json", report.model_dump_json(indent=1).encode())
    return report


def source_of(model: PlannedModel) -> str:
    """Return what a file of explanations calls a teacher: its name, and the digest of its weights or its address."""
    content = model.answerer.content(next(iter(model.plan.datasets)))
    return f"{model.name}@{(content.get('model_digest') or digest(content))[:12]}"


def _kept(run: Run, model: PlannedModel, tallies: Mapping[str, Tally]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the rows of the file in the order of posts and questions, and count what became of all that was said."""
    source = source_of(model)
    for row, said in _said(run, model):
        verdict = judge(said)
        tallies[row["task"]].add(verdict)
        if verdict.explanation is not None:
            yield row["post_key"], row["task"], verdict.explanation, source


def _said(run: Run, model: PlannedModel) -> Iterator[tuple[Mapping[str, Any], Explained]]:
    """Yield each prediction with what the teacher was asked there, and said."""
    questions = {(question.dataset, question.task): question for question in model.plan.questions}
    for unit in model.plan.units():
        content = run.root.read(run.folder.unit(model.name, model.config, unit.unit_id))
        for row in read_predictions(content, columns=_READ).to_pylist():
            question = questions[row["dataset"], row["task"]]
            task, asked = question.definition, ""
            if row["output"] is not None:
                asked = why_question(task, row["reference"], question.variant)
            yield (
                row,
                Explained(
                    task=task,
                    reference=row["reference"],
                    question=asked,
                    prompt=row["prompt"],
                    with_picture=row["image_sha256"] is not None,
                    output=row["output"],
                    finished=row["finish_reason"] != "length",
                ),
            )


def _questions(question: Question) -> dict[str, AskedQuestion]:
    task, variant = question.definition, question.variant
    return {
        label: AskedQuestion(question=text, source="MM-Soc" if is_official(task, label, variant) else "ours")
        for label, text in why_questions(task, variant).items()
    }
