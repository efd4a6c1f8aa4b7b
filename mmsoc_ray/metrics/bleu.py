"""Metrics of free text over a whole cell: BLEU and chrF by ``sacrebleu``.

Both are of the corpus: counts are summed over posts, then one score is computed. A mean over posts is something else,
and a resample's score comes from its own sums. Given as shares of 1 (sacrebleu: of 100), like every share of the table.
A prediction of None (unparsed or failed) is the empty text: it matches nothing and lacks the length of its reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from mmsoc_ray.metrics.confusion import Counts, Floats
from mmsoc_ray.metrics.transcription import MAX_SCORED_CHARACTERS

Predictions = Sequence[str | None]
References = Sequence[str | Sequence[str]]


class CorpusStatistic:
    """BLEU and chrF of many weightings of the same posts, from sufficient statistics of each post.

    - ``bleu``: sacrebleu's defaults (``case:mixed|tok:13a|smooth:exp``, up to four words; a post's references are used
      together, the length nearest to the prediction's counts; Post 2018, arXiv 1804.08771). Text without spaces
      between words (Chinese, Japanese) is one word to this tokenizer: read chrF there.
    - ``chrf``: sacrebleu's defaults (chrF2, ``case:mixed|nc:6|nw:0|space:no|eff:yes``; of several references the one
      with the best score of the post; Popović 2015).

    Args:
        predictions: One text for each post, or None.
        references: One text, or several, for each post.

    Raises:
        ValueError: The sequences are not parallel, or a post has no reference.
    """

    def __init__(self, predictions: Predictions, references: References) -> None:
        if len(predictions) != len(references):
            raise ValueError(f"{len(predictions)} predictions for {len(references)} references; they must be parallel")
        self._metrics: dict[str, BLEU | CHRF] = {"bleu": BLEU(force=True), "chrf": CHRF()}
        self._counts = {name: _counts(metric, predictions, references) for name, metric in self._metrics.items()}

    def __call__(self, weights: Counts) -> dict[str, Floats]:
        """Map weights of shape (resamples, posts) to values of shape (resamples,); NaN without any post."""
        empty = weights.sum(axis=1) == 0
        return {name: np.where(empty, np.nan, self._scores(name, weights)) for name in self._metrics}

    def _scores(self, name: str, weights: Counts) -> Floats:
        # A product of floats is many times faster than one of integers, and exact up to 2^53.
        sums = (weights.astype(np.float64) @ self._counts[name]).astype(np.int64).tolist()
        metric = self._metrics[name]
        return np.asarray([metric._compute_score_from_stats(row).score / 100 for row in sums], np.float64)


def _counts(metric: BLEU | CHRF, predictions: Predictions, references: References) -> npt.NDArray[np.float64]:
    """Return sacrebleu's sufficient statistics of each post, shape (posts, statistics)."""
    rows = []
    for post, (prediction, given) in enumerate(zip(predictions, references, strict=True)):
        texts = (given,) if isinstance(given, str) else given
        if not texts:
            raise ValueError(f"post {post} has no reference")
        streams = [[text[:MAX_SCORED_CHARACTERS]] for text in texts]
        rows += metric._extract_corpus_statistics([(prediction or "")[:MAX_SCORED_CHARACTERS]], streams)
    return np.asarray(rows, np.float64) if rows else np.zeros((0, 18))


def _value(name: str, predictions: Predictions, references: References) -> float:
    statistic = CorpusStatistic(predictions, references)
    return float(statistic(np.ones((1, len(predictions)), np.int64))[name][0])


def bleu(predictions: Predictions, references: References) -> float:
    """Return the corpus BLEU as a share of 1, see ``CorpusStatistic``; unparsed and failed answers are empty texts."""
    return _value("bleu", predictions, references)


def chrf(predictions: Predictions, references: References) -> float:
    """Return the corpus chrF2 as a share of 1, see ``CorpusStatistic``; unparsed and failed answers are empty texts."""
    return _value("chrf", predictions, references)
