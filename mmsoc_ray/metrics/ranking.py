"""Metrics of scores and probabilities: ranking, calibration.

A score of NaN belongs to a post that was not scored (its request failed). It counts as the answer that knows nothing:
0.5 for a score, equal probabilities for all labels. (The Singapore meme system scores such posts 0.5 too.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from mmsoc_ray.metrics.confusion import Counts, Floats, divide

CALIBRATION_BINS = 15
"""As Guo et al. 2017 (arXiv 1706.04599)."""

UNKNOWN_SCORE = 0.5


def _scores(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> tuple[npt.NDArray[np.bool_], Floats]:
    truth, scores = np.asarray(y_true).astype(bool), np.asarray(y_score, np.float64)
    if truth.shape != scores.shape or truth.ndim != 1:
        raise ValueError(f"y_true has shape {truth.shape}, y_score {scores.shape}; they must be parallel sequences")
    if np.isinf(scores).any():
        at = int(np.flatnonzero(np.isinf(scores))[0])
        raise ValueError(f"y_score[{at}] is {scores[at]}; scores must be finite or NaN (not scored)")
    return truth, np.where(np.isnan(scores), UNKNOWN_SCORE, scores)


def auroc(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: how often a positive is scored above a negative, ties half.

    Args:
        y_true: True for a positive, shape (posts,).
        y_score: Score of the positive label, shape (posts,); NaN counts as 0.5.

    Returns:
        The area; NaN where only one class occurs.

    Raises:
        ValueError: The shapes differ, or a score is infinite.
    """
    truth, scores = _scores(y_true, y_score)
    return float("nan") if truth.all() or not truth.any() else float(sk.roc_auc_score(truth, scores))


def average_precision(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Return the average precision: precision at every distinct score, weighted by the recall it adds.

    Args:
        y_true: True for a positive, shape (posts,).
        y_score: Score of the positive label, shape (posts,); NaN counts as 0.5.

    Returns:
        The average; 1 where all are positive, NaN where none is.

    Raises:
        ValueError: The shapes differ, or a score is infinite.
    """
    truth, scores = _scores(y_true, y_score)
    return float(sk.average_precision_score(truth, scores)) if truth.any() else float("nan")


def label_probabilities(y_prob: npt.ArrayLike, labels: int) -> Floats:
    """Return probabilities that sum to 1 for every post; a post without any (NaN, or all 0) gets equal ones.

    Raises:
        ValueError: Not of shape (posts, labels), or a probability is negative or infinite.
    """
    given = np.asarray(y_prob, np.float64).reshape(-1, labels) if np.size(y_prob) == 0 else np.asarray(y_prob, float)
    if given.ndim != 2 or given.shape[1] != labels:
        raise ValueError(f"probabilities have shape {given.shape}; expected (posts, {labels})")
    if (given < 0).any() or np.isinf(given).any():
        raise ValueError("probabilities must be at least 0 and finite, or NaN (not scored)")
    absent = np.isnan(given).any(axis=1) | (np.nansum(given, axis=1) == 0)
    filled = np.where(absent[:, None], 1.0, given)
    return np.asarray(filled / filled.sum(axis=1, keepdims=True))


def _codes(y_true: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    code = {label: at for at, label in enumerate(labels)}
    unknown = set(y_true) - set(code)
    if unknown:
        raise ValueError(f"y_true holds {sorted(unknown)[0]!r}, which is not one of the labels {list(labels)}")
    return np.fromiter((code[label] for label in y_true), np.int64, len(y_true))


def log_losses(y_true: Sequence[str], y_prob: npt.ArrayLike, labels: Sequence[str]) -> Floats:
    """Return minus the natural logarithm of the true label's probability per post, which is clipped at 2.2e-16."""
    probabilities = label_probabilities(y_prob, len(labels))
    of_truth = probabilities[np.arange(len(y_true)), _codes(y_true, labels)]
    return np.asarray(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)))


def log_loss(y_true: Sequence[str], y_prob: npt.ArrayLike, labels: Sequence[str]) -> float:
    """Return the mean negative log probability of the true label, in nats; NaN without any post.

    Args:
        y_true: True labels.
        y_prob: Probability of each label, shape (posts, labels) in the order of ``labels``; rows are made to sum to 1,
            a row with NaN counts as equal probabilities.
        labels: The labels.

    Raises:
        ValueError: Shapes or labels do not fit.
    """
    losses = log_losses(y_true, y_prob, labels)
    return float(losses.mean()) if len(losses) else float("nan")


def calibration_gaps(
    y_true: Sequence[str], y_prob: npt.ArrayLike, labels: Sequence[str], bins: int = CALIBRATION_BINS
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return per post correctness (1 or 0) minus confidence, and the bin of its confidence.

    The predicted label is the most probable one (the first of ties), its probability the confidence; bin b holds
    confidences in (b / bins, (b + 1) / bins].
    """
    probabilities = label_probabilities(y_prob, len(labels))
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == _codes(y_true, labels)
    edges = np.arange(1, bins) / bins
    return correct - confidence, np.searchsorted(edges, confidence, side="left")


def expected_calibration_error(
    y_true: Sequence[str], y_prob: npt.ArrayLike, labels: Sequence[str], bins: int = CALIBRATION_BINS
) -> float:
    """Return the expected calibration error over equal bins of confidence (Guo et al. 2017).

    The mean over posts of the gap between accuracy and mean confidence within the post's bin. Rows with NaN count as
    equal probabilities; NaN without any post.

    Args:
        y_true: True labels.
        y_prob: Probability of each label, shape (posts, labels).
        labels: The labels.
        bins: Number of bins.

    Raises:
        ValueError: Shapes or labels do not fit.
    """
    gaps, bin_of = calibration_gaps(y_true, y_prob, labels, bins)
    if not len(gaps):
        return float("nan")
    return float(np.abs(np.bincount(bin_of, weights=gaps, minlength=bins)).sum() / len(gaps))


class RankingStatistic:
    """AUROC and average precision of many weightings of the same posts, for the bootstrap.

    Fastest where the posts come by falling score: nothing needs to be gathered then. One call at a time: the arrays of
    the last one are used again, since getting as many anew would take longer than the sums.
    """

    def __init__(self, y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> None:
        truth, scores = _scores(y_true, y_score)
        order = np.argsort(-scores, kind="stable")
        self._order = None if (np.diff(order) == 1).all() else order
        self._positive = truth[order].astype(np.int64)
        falling = scores[order]
        # Posts of one score come together; each such group ends here.
        self._ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if len(falling) else np.zeros(0, int)
        self._posts, self._groups, self._shares = self._arrays(0)

    def __call__(self, weights: Counts) -> dict[str, Floats]:
        """Map weights of shape (resamples, posts) to values of shape (resamples,)."""
        ordered = weights if self._order is None else weights[:, self._order]
        if len(weights) != len(self._posts[0]):
            self._posts, self._groups, self._shares = self._arrays(len(weights))
        of_posts, sums = self._posts
        positives, found, negatives, seen = self._groups
        self._of_groups(np.multiply(ordered, self._positive, out=of_posts), sums, positives, found)
        self._of_groups(ordered, sums, negatives, seen)
        negatives -= positives
        # Twice the area, so that the halves of ties stay integers.
        above = 2 * np.vecdot(negatives, found) - np.vecdot(negatives, positives)
        all_positive, all_negative = positives.sum(axis=1), negatives.sum(axis=1)
        precision, divisor = self._shares
        precision[:], divisor[:] = found, np.maximum(seen, 1, out=seen)  # as floats: dividing integers is slow
        precision /= divisor
        divisor[:] = positives
        precision *= divisor
        return {
            "auroc": divide(above, 2 * all_positive * all_negative, np.nan),
            "average_precision": divide(precision.sum(axis=1), all_positive, np.nan),
        }

    def _arrays(self, resamples: int) -> tuple[Counts, Counts, Floats]:
        posts, groups = len(self._positive), len(self._ends)
        of_groups = (resamples, groups)
        return np.empty((2, resamples, posts), np.int64), np.empty((4, *of_groups), np.int64), np.empty((2, *of_groups))

    def _of_groups(self, of_posts: Counts, sums: Counts, of_groups: Counts, until: Counts) -> None:
        """Sum posts over the groups of one score, into ``of_groups``, and up to each group's end, into ``until``."""
        np.cumsum(of_posts, axis=1, out=sums)
        np.take(sums, self._ends, axis=1, out=until, mode="clip")
        of_groups[:, :1] = until[:, :1]
        np.subtract(until[:, 1:], until[:, :-1], out=of_groups[:, 1:])


class ProbabilityStatistic:
    """Log loss and calibration error of many weightings of the same posts, for the bootstrap."""

    def __init__(self, y_true: Sequence[str], y_prob: npt.ArrayLike, labels: Sequence[str]) -> None:
        self._losses = log_losses(y_true, y_prob, labels)
        self._gaps, self._bin_of = calibration_gaps(y_true, y_prob, labels)

    def __call__(self, weights: Counts) -> dict[str, Floats]:
        """Map weights of shape (resamples, posts) to values of shape (resamples,); NaN without any post."""
        posts = weights.sum(axis=1)
        gaps = [np.abs(np.bincount(self._bin_of, weights=row * self._gaps)).sum() for row in weights]
        return {
            "log_loss": divide((weights * self._losses).sum(axis=1), posts, np.nan),
            "ece": divide(gaps, posts, np.nan),
        }
