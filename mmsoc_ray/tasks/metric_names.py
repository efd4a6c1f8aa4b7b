"""Which metrics the cells of each kind of task have, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence

COUNTED = ("success_rate", "refusal_rate", "output_tokens_mean")
"""Metrics of every task."""

SCORED = ("auroc", "average_precision", "log_loss", "ece")
"""Metrics of label probabilities: they stand only where a run scored the labels."""


AVERAGES = ("macro", "micro", "weighted")
"""How precision, recall and F1 of the labels are made one number."""


def classification_metrics(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of a classification over these labels."""
    averaged = tuple(f"{average}_{name}" for name in ("f1", "precision", "recall") for average in AVERAGES)
    over_classes = ("accuracy", "balanced_accuracy", *averaged, "mcc")
    per_class = tuple(f"{name}_{label}" for label in labels for name in ("f1", "precision", "recall"))
    return (*over_classes, *per_class, *SCORED, *COUNTED)


TAGGING_METRICS = ("sample_f1", "micro_f1", "macro_f1", "jaccard", "hamming_loss", "exact_match", *COUNTED)
OCR_METRICS = ("word_error_rate", "character_error_rate", "exact_match", "rouge_l", *COUNTED)
FREE_TEXT_METRICS = ("bleu", "chrf", "rouge_1", "rouge_2", "rouge_l", "bertscore_f1", *COUNTED)
"""``bertscore_f1`` stands only where the grid names an encoder."""
