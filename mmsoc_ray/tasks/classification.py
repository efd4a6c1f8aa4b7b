"""Makes a task out of a question with a closed set of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmsoc_ray.tasks.label_rules import label_words
from mmsoc_ray.tasks.metric_names import classification_metrics
from mmsoc_ray.tasks.parsing import LabelParser
from mmsoc_ray.tasks.task import Task

LABEL_TOKENS = 16
"""New tokens of an answer that is a label: room for a short sentence around it. Our choice; MM-Soc allows 128."""


def classification(
    name: str,
    prompt: str,
    labels: Sequence[str],
    *,
    description: str,
    source: str,
    answers: Mapping[str, str] | None = None,
    positive: str | None = None,
    synonyms: Mapping[str, Sequence[str]] | None = None,
    uses_text: bool = False,
    variants: Mapping[str, str] | None = None,
    text_variants: frozenset[str] = frozenset(),
    max_new_tokens: int = LABEL_TOKENS,
) -> Task:
    """Return a classification task whose answers are read by the label rules.

    Args:
        name: Identifier.
        prompt: The question, to the letter.
        labels: Target values in order.
        description: One sentence for people.
        source: Where prompt and labels come from.
        answers: Label to the word that the prompt asks for, where it is not the label.
        positive: The label that "yes" means and that a row's score belongs to.
        synonyms: Label to further words that a lenient parser takes for it.
        uses_text: Whether the poster's text stands in the zero-shot prompt.
        variants: Further prompts by name.
        text_variants: Variants whose zero-shot prompt holds the poster's text.
        max_new_tokens: Bound on an answer.

    Raises:
        ValueError: Labels, answers and synonyms do not fit together.
    """
    return Task(
        name=name,
        kind="classification",
        prompt=prompt,
        description=description,
        source=source,
        parse=LabelParser(label_words(labels, answers, positive, synonyms)),
        metrics=classification_metrics(labels),
        max_new_tokens=max_new_tokens,
        labels=tuple(labels),
        answers={label: (answers or {}).get(label, label) for label in labels},
        positive=positive,
        uses_text=uses_text,
        variants=dict(variants or {}),
        text_variants=text_variants,
    )
