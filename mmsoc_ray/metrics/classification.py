"""Classification metrics of one set of predictions, by scikit-learn.

In all of them a prediction of None is an answer that could not be read, or that failed. It counts as wrong: no true
positive, and no false positive of any class. So does a prediction that is none of the labels. ``labels`` are the
task's declared labels; without them, those that occur in ``y_true``. Without any post every metric is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics as sk

from mmsoc_ray.metrics.confusion import confusion_counts

Truth = Sequence[str]
Predictions = Sequence[str | None]


@dataclass(frozen=True)
class _Pairs:
    """Distinct pairs of true and predicted code with how often each occurs, for scikit-learn's weights."""

    true: Any
    predicted: Any
    weight: Any
    labels: tuple[str, ...]

    @property
    def codes(self) -> list[int]:
        return list(range(len(self.labels)))


def _pairs(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None) -> _Pairs:
    names = tuple(labels) if labels is not None else tuple(sorted(set(y_true)))
    counts = confusion_counts(y_true, y_pred, names)
    true, predicted = np.nonzero(counts)
    return _Pairs(true, predicted, counts[true, predicted], names)


def _averaged(
    score: Callable[..., Any], y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None, average: str
) -> float:
    if not len(y_true):
        return float("nan")
    pairs = _pairs(y_true, y_pred, labels)
    weight = pairs.weight
    return float(
        score(pairs.true, pairs.predicted, labels=pairs.codes, average=average, sample_weight=weight, zero_division=0)
    )


def accuracy(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the share of posts whose label was predicted; unparsed and failed answers are wrong."""
    if not len(y_true):
        return float("nan")
    pairs = _pairs(y_true, y_pred, labels)
    return float(sk.accuracy_score(pairs.true, pairs.predicted, sample_weight=pairs.weight))


def balanced_accuracy(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the mean recall over the classes that occur in ``y_true``; unparsed and failed answers are misses."""
    if not len(y_true):
        return float("nan")
    pairs = _pairs(y_true, y_pred, labels)
    present = sorted(set(pairs.true.tolist()))
    return float(
        sk.recall_score(
            pairs.true,
            pairs.predicted,
            labels=present,
            average="macro",
            sample_weight=pairs.weight,
            zero_division=0,
        )
    )


def macro_f1(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the mean F1 over all declared labels.

    A label that occurs neither as truth nor as prediction has F1 0 and counts (``zero_division=0``), so that the value
    does not depend on which labels a sample happens to hold. Unparsed and failed answers are misses of their class.
    """
    return _averaged(sk.f1_score, y_true, y_pred, labels, "macro")


def micro_f1(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return F1 of hits, false positives and misses summed over classes.

    Equals accuracy where every answer could be read; an unparsed or failed answer is a miss but no false positive.
    """
    return _averaged(sk.f1_score, y_true, y_pred, labels, "micro")


def weighted_f1(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the mean F1 over classes, each weighted by how often it is true; a class without prediction has 0."""
    return _averaged(sk.f1_score, y_true, y_pred, labels, "weighted")


def macro_precision(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the mean precision over all declared labels; a label that is never predicted has 0 and counts."""
    return _averaged(sk.precision_score, y_true, y_pred, labels, "macro")


def macro_recall(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the mean recall over all declared labels; one that is never true has 0 and counts.

    ``balanced_accuracy`` leaves such a label out. Unparsed and failed answers are misses of their class.
    """
    return _averaged(sk.recall_score, y_true, y_pred, labels, "macro")


def micro_precision(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the share of answers with a label that are right; 0 where all are unparsed or failed."""
    return _averaged(sk.precision_score, y_true, y_pred, labels, "micro")


def micro_recall(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the share of posts whose label was predicted: with one label a post, the same as ``accuracy``."""
    return _averaged(sk.recall_score, y_true, y_pred, labels, "micro")


def weighted_precision(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the mean precision over classes, each weighted by how often it is true; 0 for one never predicted."""
    return _averaged(sk.precision_score, y_true, y_pred, labels, "weighted")


def weighted_recall(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the mean recall over classes, each weighted by how often it is true: the same as ``accuracy``."""
    return _averaged(sk.recall_score, y_true, y_pred, labels, "weighted")


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class, each 0 where its denominator is 0, and how often the class is true."""

    precision: float
    recall: float
    f1: float
    support: int


def per_class_scores(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> dict[str, ClassScores]:
    """Return the scores of every label; unparsed and failed answers are misses and never false positives."""
    pairs = _pairs(y_true, y_pred, labels)
    if not len(y_true):
        return {label: ClassScores(float("nan"), float("nan"), float("nan"), 0) for label in pairs.labels}
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        pairs.true, pairs.predicted, labels=pairs.codes, sample_weight=pairs.weight, zero_division=0
    )
    return {
        label: ClassScores(float(precision[at]), float(recall[at]), float(f1[at]), int(support[at]))
        for at, label in enumerate(pairs.labels)
    }


def mcc(y_true: Truth, y_pred: Predictions, labels: Sequence[str] | None = None) -> float:
    """Return the Matthews correlation coefficient, multi-class where there are more than two labels.

    Unparsed and failed answers form one more predicted class, which is never true. 0 where only one class is true or
    only one is predicted.
    """
    if not len(y_true):
        return float("nan")
    pairs = _pairs(y_true, y_pred, labels)
    if len(np.unique(pairs.true)) == 1 or len(np.unique(pairs.predicted)) == 1:
        return 0.0
    return float(sk.matthews_corrcoef(pairs.true, pairs.predicted, sample_weight=pairs.weight))
