"""Metrics of free text: ROUGE by Google's ``rouge-score``, the longest common subsequence by ``rapidfuzz``.

F-measures without stemming. Words are runs of letters and digits of any script, case folded; a Chinese or Japanese
character is a word. (The library's own tokenizer drops everything outside ASCII; on ASCII both are the same. Its own
longest common subsequence, in Python, takes minutes on two texts of 20,000 characters.) Where a post has several
references the best one counts, for each metric apart. A prediction of None (unparsed or failed) has 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq
from rouge_score import rouge_scorer, scoring

from mmsoc_ray.metrics.transcription import MAX_SCORED_CHARACTERS

ROUGE = ("rouge_1", "rouge_2", "rouge_l")
NGRAMS = {"rouge_1": "rouge1", "rouge_2": "rouge2"}
"""Names in the results table to those of the library."""

_HAN_AND_KANA = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_HAN_AND_KANA}]|[^\W_{_HAN_AND_KANA}]+")


class UnicodeWords:
    """Tokenizer for ``rouge-score``."""

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text."""
        return _WORD.findall(text.casefold())


@lru_cache
def _scorer(names: tuple[str, ...]) -> rouge_scorer.RougeScorer:
    return rouge_scorer.RougeScorer([NGRAMS[name] for name in names], tokenizer=UnicodeWords())


def _f_measures(reference: str, prediction: str, names: Sequence[str]) -> list[float]:
    """Return the F-measures of one pair of texts in the order of the names."""
    ngrams = tuple(name for name in names if name in NGRAMS)
    found = {name: float(score.fmeasure) for name, score in _scorer(ngrams).score(reference, prediction).items()}
    return [found[NGRAMS[name]] if name in NGRAMS else _subsequence(reference, prediction) for name in names]


def _subsequence(reference: str, prediction: str) -> float:
    true, said = UnicodeWords().tokenize(reference), UnicodeWords().tokenize(prediction)
    if not true or not said:
        return 0.0
    common = LCSseq.similarity(true, said)
    return float(scoring.fmeasure(common / len(said), common / len(true)))


def rouge_scores(
    predictions: Sequence[str | None],
    references: Sequence[str | Sequence[str]],
    names: Sequence[str] = ROUGE,
) -> dict[str, npt.NDArray[np.float64]]:
    """Return ROUGE F-measures per post, by metric, each of shape (posts,).

    Args:
        predictions: One text for each post, or None.
        references: One text, or several of which the best counts, for each post.
        names: Which of ``rouge_1``, ``rouge_2``, ``rouge_l``.

    Raises:
        ValueError: The sequences are not parallel.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references; they must be parallel")
    values = np.zeros((len(predictions), len(names)))
    for post, (prediction, given) in enumerate(zip(predictions, references, strict=True)):
        if prediction is None:
            continue
        for reference in (given,) if isinstance(given, str) else given:
            found = _f_measures(reference[:MAX_SCORED_CHARACTERS], prediction[:MAX_SCORED_CHARACTERS], names)
            values[post] = np.maximum(values[post], found)
    return {name: values[:, at] for at, name in enumerate(names)}


def _mean(name: str, predictions: Sequence[str | None], references: Sequence[str | Sequence[str]]) -> float:
    scores = rouge_scores(predictions, references, (name,))[name]
    return float(scores.mean()) if len(scores) else float("nan")


def rouge_1(predictions: Sequence[str | None], references: Sequence[str | Sequence[str]]) -> float:
    """Return the mean ROUGE-1 F-measure (common words); unparsed and failed answers have 0; NaN without any post."""
    return _mean("rouge_1", predictions, references)


def rouge_2(predictions: Sequence[str | None], references: Sequence[str | Sequence[str]]) -> float:
    """Return the mean ROUGE-2 F-measure (common pairs of words); unparsed and failed answers have 0."""
    return _mean("rouge_2", predictions, references)


def rouge_l(predictions: Sequence[str | None], references: Sequence[str | Sequence[str]]) -> float:
    """Return the mean ROUGE-L F-measure (longest common subsequence of words); unparsed and failed answers have 0."""
    return _mean("rouge_l", predictions, references)
