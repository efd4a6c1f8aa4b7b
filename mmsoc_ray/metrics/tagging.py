"""Metrics of tag sets.

A prediction of None (unparsed or failed) is the empty set. Tags are compared as they come; callers normalise them.
Quotients with denominator 0 are 0, so that an empty prediction is never right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmsoc_ray.metrics.confusion import Counts, Floats, divide, weighted_means

Tags = Collection[str]
References = Sequence[Tags]
Predictions = Sequence[Tags | None]


class TagStatistic:
    """All tagging metrics of many weightings of the same posts.

    Definitions, per post with reference set R and predicted set P: ``sample_f1`` 2|R∩P| / (|R|+|P|), ``jaccard``
    |R∩P| / |R∪P|, ``exact_match`` R = P and not empty, each averaged over posts; ``micro_f1`` of hits, false positives
    and misses summed over posts and tags, tags outside the vocabulary included; ``macro_f1`` the mean F1 over the
    vocabulary, 0 for a tag without hits; ``hamming_loss`` wrong decisions over the vocabulary's tags, as a share of
    posts times tags.

    Args:
        references: The tags of every post.
        predictions: The predicted tags of every post, or None.
        vocabulary: The tags that could be given; without it, all that occur in the references.

    Raises:
        ValueError: References and predictions are not parallel.
    """

    def __init__(self, references: References, predictions: Predictions, vocabulary: Tags | None = None) -> None:
        if len(references) != len(predictions):
            raise ValueError(f"{len(references)} references for {len(predictions)} predictions; they must be parallel")
        truths = [frozenset(tags) for tags in references]
        guesses = [frozenset(tags or ()) for tags in predictions]
        known = sorted(set(vocabulary) if vocabulary is not None else frozenset().union(*truths))
        code = {tag: at for at, tag in enumerate(known)}
        self._tags = len(known)
        self._hits = _lengths(true & guess for true, guess in zip(truths, guesses, strict=True))
        self._true = _lengths(truths)
        self._guessed = _lengths(guesses)
        self._hit_tags = _occurrences([true & guess for true, guess in zip(truths, guesses, strict=True)], code)
        self._given_tags = _occurrences([[*true, *guess] for true, guess in zip(truths, guesses, strict=True)], code)
        same = [bool(true) and true == guess for true, guess in zip(truths, guesses, strict=True)]
        self._per_post = {
            "sample_f1": divide(2 * self._hits, self._true + self._guessed, 0.0),
            "jaccard": divide(self._hits, self._true + self._guessed - self._hits, 0.0),
            "exact_match": np.asarray(same, np.float64),
        }

    def __call__(self, weights: Counts) -> dict[str, Floats]:
        """Map weights of shape (resamples, posts) to values of shape (resamples,); NaN without any post."""
        posts = weights.sum(axis=1)
        values = weighted_means(weights, self._per_post)
        hits, true, guessed = (np.vecdot(weights, count) for count in (self._hits, self._true, self._guessed))
        values["micro_f1"] = np.where(posts == 0, np.nan, divide(2 * hits, true + guessed, 0.0))
        # By tag of the vocabulary: hits, and how often it is a post's own or predicted.
        tag_hits, tag_given = self._by_tag(weights, self._hit_tags), self._by_tag(weights, self._given_tags)
        f1 = divide(2 * tag_hits, tag_given, 0.0)
        values["macro_f1"] = np.where(posts == 0, np.nan, divide(f1.sum(axis=1), self._tags, np.nan))
        wrong = (tag_given - 2 * tag_hits).sum(axis=1)
        values["hamming_loss"] = divide(wrong, posts * self._tags, np.nan)
        return values

    def _by_tag(self, weights: Counts, occurrences: _Occurrences) -> Counts:
        """Return how often each tag of the vocabulary occurs, shape (resamples, tags)."""
        counted = np.zeros((len(weights), self._tags), np.int64)
        if len(occurrences.posts):
            of_posts = weights.take(occurrences.posts, axis=1)
            counted[:, occurrences.tags] = np.add.reduceat(of_posts, occurrences.starts, axis=1)
        return counted


@dataclass(frozen=True)
class _Occurrences:
    """The posts in which each tag stands, tag by tag; those of ``tags[i]`` begin at ``starts[i]``."""

    posts: Counts
    tags: Counts
    starts: Counts


def _lengths(sets: object) -> npt.NDArray[np.int64]:
    return np.asarray([len(one) for one in sets], np.int64)  # type: ignore[attr-defined]


def _occurrences(tags_of_posts: Sequence[Tags], code: dict[str, int]) -> _Occurrences:
    """Return where the known tags stand; a post counts as often as it holds the tag."""
    pairs = [(code[tag], post) for post, tags in enumerate(tags_of_posts) for tag in tags if tag in code]
    both = np.asarray(sorted(pairs), np.int64).reshape(-1, 2)
    present, starts = np.unique(both[:, 0], return_index=True)
    return _Occurrences(posts=both[:, 1].copy(), tags=present, starts=starts)


def _value(name: str, references: References, predictions: Predictions, vocabulary: Tags | None) -> float:
    statistic = TagStatistic(references, predictions, vocabulary)
    return float(statistic(np.ones((1, len(references)), np.int64))[name][0])


def sample_f1(references: References, predictions: Predictions) -> float:
    """Return the mean over posts of the F1 between reference and predicted tags; an unparsed answer has 0."""
    return _value("sample_f1", references, predictions, None)


def jaccard(references: References, predictions: Predictions) -> float:
    """Return the mean over posts of common tags over all tags of both sets; an unparsed answer has 0."""
    return _value("jaccard", references, predictions, None)


def tag_exact_match(references: References, predictions: Predictions) -> float:
    """Return the share of posts whose predicted tags are the reference tags; an unparsed answer is wrong."""
    return _value("exact_match", references, predictions, None)


def hamming_loss(references: References, predictions: Predictions, vocabulary: Tags | None = None) -> float:
    """Return the share of wrong yes-or-no decisions over posts times vocabulary; an unparsed answer gives no tag.

    The vocabulary is that of the references where none is given; tags outside it do not count here.
    """
    return _value("hamming_loss", references, predictions, vocabulary)


def tag_micro_f1(references: References, predictions: Predictions) -> float:
    """Return F1 of hits, false positives and misses summed over posts and tags; an unparsed answer misses all."""
    return _value("micro_f1", references, predictions, None)


def tag_macro_f1(references: References, predictions: Predictions, vocabulary: Tags | None = None) -> float:
    """Return the mean F1 over the vocabulary (that of the references where none is given), 0 for a tag without hits."""
    return _value("macro_f1", references, predictions, vocabulary)
