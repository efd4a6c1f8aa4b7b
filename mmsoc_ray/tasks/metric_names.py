"""Which metrics the cells of each kind of task have, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence

COUNTED = ("success_rate", "refusal_rate", "output_tokens_mean")
"""Metrics of every task."""

SCORED = ("auroc", "average_precision", "log_loss", "ece")
"""Metrics of label probabilities: they stand only where a run scored the labels."""


def classification_metrics(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of a classification over these labels."""
    over_classes = ("accuracy", "balanced_accuracy", "macro_f1", "micro_f1", "weighted_f1", "mcc")
    per_class = tuple(f"{name}_{label}" for label in labels for name in ("f1", "precision", "recall"))
    return (*over_classes, *per_class, *SCORED, *COUNTED)


TAGGING_METRICS = ("sample_f1", "micro_f1", "macro_f1", "jaccard", "hamming_loss", "exact_match", *COUNTED)
OCR_METRICS = ("word_error_rate", "character_error_rate", "exact_match", "rouge_l", *COUNTED)
FREE_TEXT_METRICS = ("rouge_1", "rouge_2", "rouge_l", *COUNTED)
