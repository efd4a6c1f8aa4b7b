"""What the kind of a task decides: how answers are read, how they are scored, how long they may be."""

from __future__ import annotations

from collections.abc import Sequence

from mmsoc_ray.tasks.classification import LABEL_TOKENS
from mmsoc_ray.tasks.label_rules import LabelWords
from mmsoc_ray.tasks.metric_names import FREE_TEXT_METRICS, OCR_METRICS, TAGGING_METRICS, classification_metrics
from mmsoc_ray.tasks.parsing import AnswerParser, FreeTextParser, LabelParser, QuotedTextParser, TagParser
from mmsoc_ray.tasks.task import TaskKind

TAG_TOKENS = 64
TEXT_TOKENS = 128
"""Bounds on answers that are tags or texts: those of the built-in tasks."""


def kind_parser(kind: TaskKind, words: LabelWords | None = None) -> AnswerParser:
    """Return the parser of a kind; a classification's reads the given words.

    Raises:
        ValueError: A classification without words.
    """
    if kind == "classification":
        if words is None:
            raise ValueError("a classification is read by the words of its labels")
        return LabelParser(words)
    if kind == "tagging":
        return TagParser()
    return QuotedTextParser() if kind == "ocr" else FreeTextParser()


def kind_metrics(kind: TaskKind, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the metrics that a cell of a task of this kind can have, in the order in which they are shown."""
    if kind == "classification":
        return classification_metrics(labels)
    if kind == "tagging":
        return TAGGING_METRICS
    return OCR_METRICS if kind == "ocr" else FREE_TEXT_METRICS


def kind_tokens(kind: TaskKind) -> int:
    """Return after how many new tokens an answer is cut where the task says nothing."""
    return {"classification": LABEL_TOKENS, "tagging": TAG_TOKENS}.get(kind, TEXT_TOKENS)
