"""Classification metrics of many confusion matrices at once, as a bootstrap needs them.

A confusion matrix here has a row for each declared label that is true and a column for each label that was predicted,
followed by one or more columns of answers without a label (unparsed, refused, failed): shape
``(..., labels, labels + without)``. Such an answer is wrong: it is no true positive and no false positive of any class.
Every function maps ``(..., labels, labels + without)`` to ``(...)`` or, per class, to ``(..., labels)``; a matrix
without any post gives NaN. All agree with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def divide(numerator: npt.ArrayLike, denominator: npt.ArrayLike, otherwise: float) -> Floats:
    """Return the quotient, and ``otherwise`` where the denominator is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient: Floats = np.divide(top, bottom, out=np.full(top.shape, otherwise), where=bottom != 0)
    return quotient


def weighted_means(weights: Counts, values: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the means of values per post, shape (posts,), under weights of shape (resamples, posts); NaN without any.

    Weights become floats once, and not again for every name.
    """
    total, shares = weights.sum(axis=1), weights.astype(np.float64)
    return {name: divide((shares * of_post).sum(axis=1), total, np.nan) for name, of_post in values.items()}


def confusion_counts(y_true: Sequence[str], y_pred: Sequence[str | None], labels: Sequence[str]) -> Counts:
    """Count pairs of true and predicted label.

    Returns:
        Counts of shape (labels, labels + 1); the last column holds predictions that are None or no label.

    Raises:
        ValueError: The lengths differ, or a true label is not declared.
    """
    if len(y_true) != len(y_pred):
        raise ValueError(f"y_true has {len(y_true)} values, y_pred has {len(y_pred)}; they must be parallel")
    code = {label: index for index, label in enumerate(labels)}
    unknown = set(y_true) - set(code)
    if unknown:
        raise ValueError(f"y_true holds {sorted(unknown)[0]!r}, which is not one of the labels {list(labels)}")
    none = len(labels)
    rows = np.fromiter((code[label] for label in y_true), np.int64, len(y_true))
    columns = np.fromiter((none if label is None else code.get(label, none) for label in y_pred), np.int64, len(y_pred))
    return np.bincount(rows * (none + 1) + columns, minlength=none * (none + 1)).reshape(none, none + 1)


def per_class(counts: Counts) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and F1 per class, each 0 where its denominator is 0 (NaN without any post)."""
    labels = counts.shape[-2]
    hits = np.diagonal(counts[..., :labels], axis1=-2, axis2=-1)
    support = counts.sum(axis=-1)
    predicted = counts[..., :labels].sum(axis=-2)
    empty = (counts.sum(axis=(-2, -1)) == 0)[..., None]
    precision, recall = divide(hits, predicted, 0.0), divide(hits, support, 0.0)
    f1 = divide(2 * hits, support + predicted, 0.0)
    return np.where(empty, np.nan, precision), np.where(empty, np.nan, recall), np.where(empty, np.nan, f1)


def accuracies(counts: Counts) -> Floats:
    """Return the share of all posts whose label was predicted."""
    labels = counts.shape[-2]
    hits = np.trace(counts[..., :labels], axis1=-2, axis2=-1)
    return divide(hits, counts.sum(axis=(-2, -1)), np.nan)


def balanced_accuracies(counts: Counts) -> Floats:
    """Return the mean recall over those classes that occur among the true labels."""
    present = counts.sum(axis=-1) > 0
    _, recall, _ = per_class(counts)
    return divide(np.where(present, recall, 0.0).sum(axis=-1), present.sum(axis=-1), np.nan)


def macro(values: Floats) -> Floats:
    """Return the mean of values per class over all declared labels, whether or not they occur."""
    return np.asarray(values.mean(axis=-1))


def weighted(values: Floats, counts: Counts) -> Floats:
    """Return the mean of values per class, each weighted by how often the class is true."""
    support = counts.sum(axis=-1)
    return divide((values * support).sum(axis=-1), support.sum(axis=-1), np.nan)


def micro(counts: Counts) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and F1 of hits, false positives and misses summed over classes.

    An unparsed answer is a miss only. Precision is 0 where no answer has a label.
    """
    labels = counts.shape[-2]
    hits = np.trace(counts[..., :labels], axis1=-2, axis2=-1)
    posts, predicted = counts.sum(axis=(-2, -1)), counts[..., :labels].sum(axis=(-2, -1))
    precision = np.where(posts == 0, np.nan, divide(hits, predicted, 0.0))
    return precision, divide(hits, posts, np.nan), divide(2 * hits, posts + predicted, np.nan)


def matthews(counts: Counts) -> Floats:
    """Return the multi-class Matthews correlation (R_K of Gorodkin 2004), answers without a label as one more class.

    0 where only one class is true or only one is predicted.
    """
    labels = counts.shape[-2]
    exact = counts.astype(np.float64)
    hits = np.trace(exact[..., :labels], axis1=-2, axis2=-1)
    total = exact.sum(axis=(-2, -1))
    support = exact.sum(axis=-1)
    predicted = exact[..., :labels].sum(axis=-2)
    without = exact[..., labels:].sum(axis=(-2, -1))
    covariance = hits * total - (support * predicted).sum(axis=-1)
    spread = total**2 - (support**2).sum(axis=-1)
    predicted_spread = total**2 - (predicted**2).sum(axis=-1) - without**2
    value = divide(covariance, np.sqrt(spread) * np.sqrt(predicted_spread), 0.0)
    return np.where(total == 0, np.nan, value)


def classification_values(counts: Counts, labels: Sequence[str]) -> dict[str, Floats]:
    """Return every classification metric by its name in the results table.

    Args:
        counts: Confusion matrices, shape (..., labels, labels + without).
        labels: Names of the rows.
    """
    values = {
        "accuracy": accuracies(counts),
        "balanced_accuracy": balanced_accuracies(counts),
        "mcc": matthews(counts),
    }
    precision, recall, f1 = per_class(counts)
    pooled = micro(counts)
    for at, (name, of_class) in enumerate((("precision", precision), ("recall", recall), ("f1", f1))):
        values |= {f"macro_{name}": macro(of_class), f"weighted_{name}": weighted(of_class, counts)}
        values[f"micro_{name}"] = pooled[at]
    for index, label in enumerate(labels):
        values[f"f1_{label}"] = f1[..., index]
        values[f"precision_{label}"] = precision[..., index]
        values[f"recall_{label}"] = recall[..., index]
    return values
