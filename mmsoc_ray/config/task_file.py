"""A task of a user's own, in YAML: prompt, labels or free text, parser and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mmsoc_ray.config.located_yaml import Location, load_located
from mmsoc_ray.errors import ConfigurationError, unknown_name
from mmsoc_ray.tasks import TASKS, Task, TaskKind, kind_metrics, kind_parser, kind_tokens, label_words

TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""Task names become parts of file paths and of targets: lower-case letters, digits and underscore."""

Words = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
"""A label or an answer word: one line."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelChoice(_Strict):
    """A label of a task.

    Attributes:
        answer: The word that the prompt asks for, by default the label.
        synonyms: Further words that a lenient parser takes for the label.
    """

    answer: Words | None = None
    synonyms: tuple[Words, ...] = ()


class TaskFile(_Strict):
    """A task, as its YAML file says it.

    Attributes:
        name: What grids and posts' targets call it.
        kind: ``classification``, ``tagging``, ``ocr`` or ``free_text``: decides parser, references and metrics.
        prompt: The question, to the letter.
        description: One sentence for people.
        source: Where prompt and labels come from.
        labels: Of a classification, at least two, a list or a mapping to answer word and synonyms; of a tagging task
            its vocabulary, where that is closed.
        positive: The label that "yes" means and whose probability is a row's score.
        metrics: Metrics in the order in which they are shown, by default all of the kind; ``success_rate``, without
            which no other can be judged, always stands.
        max_new_tokens: Bound on an answer, by default that of the kind.
        uses_text: Whether the poster's text stands in the zero-shot prompt.
    """

    name: TaskName
    kind: TaskKind
    prompt: str = Field(min_length=1, max_length=8000, pattern=r"\S")
    description: str = ""
    source: str = ""
    labels: dict[Words, LabelChoice] = {}
    positive: str | None = None
    metrics: tuple[str, ...] | None = Field(default=None, min_length=1)
    max_new_tokens: int | None = Field(default=None, ge=1, le=4096)
    uses_text: bool = True

    @field_validator("labels", mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """Take a list of labels, and a label's answer word in place of its mapping."""
        if isinstance(value, list):
            repeated = [str(label) for label, times in Counter(map(str, value)).items() if times > 1]
            if repeated:
                raise ValueError(f"{', '.join(repeated)} stands twice in the list")
            value = dict.fromkeys(value) if all(isinstance(label, str | bool) for label in value) else value
        if not isinstance(value, dict):
            return value
        if any(isinstance(part, bool) for pair in value.items() for part in pair):
            raise ValueError("put yes and no in quotes: YAML reads them as true and false")
        return {label: _choice(choice) for label, choice in value.items()}

    def task(self) -> Task:
        """Return the task; the file has been checked by ``load_task_file``."""
        answers = {label: choice.answer or label for label, choice in self.labels.items()}
        is_classification = self.kind == "classification"
        synonyms = {label: choice.synonyms for label, choice in self.labels.items()}
        allowed = kind_metrics(self.kind, tuple(answers))
        words = label_words(tuple(answers), answers, self.positive, synonyms) if is_classification else None
        return Task(
            name=self.name,
            kind=self.kind,
            prompt=self.prompt,
            description=self.description,
            source=self.source,
            parse=kind_parser(self.kind, words),
            metrics=tuple(dict.fromkeys((*self.metrics, "success_rate"))) if self.metrics else allowed,
            max_new_tokens=self.max_new_tokens or kind_tokens(self.kind),
            labels=tuple(answers),
            answers=answers if is_classification else {},
            positive=self.positive,
            uses_text=self.uses_text,
        )


def _choice(choice: Any) -> Any:
    if choice is None:
        return {}
    return {"answer": choice} if isinstance(choice, str) else choice


def load_task_file(path: Path, name: str | None = None) -> TaskFile:
    """Read and validate a task's file.

    Args:
        path: The file.
        name: What it must call the task, if that is known.

    Raises:
        ConfigurationError: Naming file, line, field, value and what is allowed.
    """
    shape = "a task is a mapping with name, kind, prompt and, to classify, labels."
    file = load_located(path, TaskFile, shape, _problems)
    if name is not None and file.name != name:
        raise ConfigurationError(f"{path} calls the task {file.name!r}. Write the same name in both.")
    return file


def _problems(file: TaskFile) -> Iterator[tuple[Location, str]]:
    """Yield what no schema can see: the field and what is wrong with it."""
    if file.name in TASKS:
        yield ("name",), f"{file.name!r} is a task that is built in. Give yours another name."
    problem = _label_problem(file)
    if problem is not None:
        yield problem
        return
    allowed = kind_metrics(file.kind, tuple(file.labels))
    for metric in file.metrics or ():
        if metric not in allowed:
            yield ("metrics",), str(unknown_name(f"metric of a {file.kind} task", metric, allowed))
    for metric, times in Counter(file.metrics or ()).items():
        if times > 1:
            yield ("metrics",), f"{metric} stands twice. Keep one of them."


def _label_problem(file: TaskFile) -> tuple[Location, str] | None:
    if file.kind == "classification":
        synonyms: Mapping[str, tuple[str, ...]] = {label: choice.synonyms for label, choice in file.labels.items()}
        answers = {label: choice.answer or label for label, choice in file.labels.items()}
        if file.positive is not None and file.positive not in file.labels:
            return ("positive",), str(unknown_name("label", file.positive, file.labels))
        try:
            label_words(tuple(file.labels), answers, file.positive, synonyms)
        except ValueError as error:
            return ("labels",), f"{error}. Name at least two labels, each with words of its own."
        return None
    if file.positive is not None:
        return ("positive",), f"only a classification has a positive label, and this task is {file.kind}. Remove it."
    if file.labels and file.kind != "tagging":
        return ("labels",), f"a task of the kind {file.kind} has no labels. Remove them or make it a classification."
    worded = [label for label, choice in file.labels.items() if choice.answer is not None or choice.synonyms]
    if worded:
        return ("labels", worded[0]), "a tag is said as it is. Give the vocabulary as a plain list."
    return None
