"""Why a label holds: what a teacher is asked about the right answer of a post.

Such a request names the answer, so it measures nothing. What the teacher says is material for training, and its cells
in the results table hold counts only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from mmsoc_ray.tasks.few_shot import right_answer
from mmsoc_ray.tasks.metric_names import COUNTED
from mmsoc_ray.tasks.parsing import FreeTextParser
from mmsoc_ray.tasks.task import Task

EXPLANATION_TOKENS = 128
"""New tokens of an explanation where nothing else is said, as MM-Soc's ``max_seq_length`` allows any answer."""

EXPLAINABLE = ("classification", "tagging")
"""Kinds of tasks with labels that can be explained; a text has none."""

OFFICIAL: Mapping[str, Mapping[str, str]] = {
    "misinformation": {
        "fake": "Why do you think this image text pair is potentially misinformative?",
        "true": "Why do you think this image text pair is potentially true news?",
    },
    "hate_speech": {"hateful": "Why do you think this meme is potentially hateful?"},
    "humor": {
        "humorous": "Why is this meme potentially humorous?",
        "not_humorous": "Why is this meme potentially not humorous?",
    },
    "sarcasm": {
        "sarcastic": "Why is this meme potentially sarcastic?",
        "not_sarcastic": "Why is this meme potentially not sarcastic?",
    },
    "offensiveness": {
        "offensive": "Why is this meme potentially offensive?",
        "not_offensive": "Why is this meme potentially not offensive?",
    },
    "sentiment": {
        "positive": "Why is the sentiment potentially positive?",
        "negative": "Why is the sentiment potentially negative?",
    },
}
"""Task and label to MM-Soc's question, to the letter: ``TOPICS2QUESTION`` of its const.py, commit ac09d6c."""

_OURS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("hate_speech", "official"): {"not_hateful": "Why do you think this meme is potentially not hateful?"},
    ("sentiment", "official"): {"neutral": "Why is the sentiment potentially neutral?"},
    ("sarcasm", "tweet"): {
        "sarcastic": "Why is this tweet potentially sarcastic?",
        "not_sarcastic": "Why is this tweet potentially not sarcastic?",
    },
}
"""Task and variant to the questions that MM-Soc has not. The wording is ours, after its own."""

_TAGS = (
    'The right tags of this online video are "{answer}". Why do they fit its title, description, and thumbnail image?'
)
_ANY = '{question}\nThe right answer is "{answer}". Why?'
"""For tagging, and for tasks and variants that stand in no table. Ours."""


def is_explainable(task: Task) -> bool:
    """Whether a task has labels that can be explained."""
    return task.kind in EXPLAINABLE


def why_question(task: Task, reference: Sequence[str], variant: str = "official") -> str:
    """Return the question why a post's reference is its right answer.

    Args:
        task: The task, a classification or tagging.
        reference: The post's targets: a label, or all tags.
        variant: Which of the task's prompts the explanation belongs to.

    Raises:
        ValueError: The task has no labels, or the reference is absent or no label of the task.
    """
    if not is_explainable(task):
        raise ValueError(f"task {task.name!r} is {task.kind}: there is no label to explain")
    answer = right_answer(task, reference)
    return why_questions(task, variant).get(reference[0], _template(task, variant)).replace("{answer}", answer)


def why_questions(task: Task, variant: str = "official") -> dict[str, str]:
    """Return the questions of a task by label; under ``*`` what is asked about every other answer, ``{answer}``."""
    official = OFFICIAL.get(task.name, {}) if variant == "official" else {}
    known = {**official, **_OURS.get((task.name, variant), {})}
    return known if known and set(known) == set(task.labels) else {**known, "*": _template(task, variant)}


def is_official(task: Task, label: str, variant: str = "official") -> bool:
    """Whether the question about a label is MM-Soc's own."""
    return variant == "official" and label in OFFICIAL.get(task.name, {})


def _template(task: Task, variant: str) -> str:
    if task.name == "tagging" and variant == "official":
        return _TAGS
    return _ANY.replace("{question}", task.question(variant))


def explained_task(task: Task) -> Task:
    """Return a task as the requests that explain it are counted: texts, of which no quality is claimed."""
    return dataclasses.replace(
        task,
        kind="free_text",
        parse=FreeTextParser(),
        metrics=COUNTED,
        labels=(),
        answers={},
        positive=None,
        vocabulary=(),
    )
