"""Metrics of words read in a picture: word and character error rate by jiwer, exact match.

Texts are normalised first (``normalise_text``). A hypothesis of None (unparsed or failed) is the empty string: every
word of its reference is deleted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import jiwer
import numpy as np
import numpy.typing as npt

MAX_SCORED_CHARACTERS = 20_000
"""Longer texts are cut before they are scored, so that one runaway answer cannot hold up a cell."""


def normalise_text(text: str | None) -> str:
    """Return the text in which OCR answers are compared: Unicode NFKC, case folded, white space as single spaces.

    Punctuation stays. None is the empty string. Our choice; MM-Soc's was not found.
    """
    return " ".join(unicodedata.normalize("NFKC", (text or "")[:MAX_SCORED_CHARACTERS]).casefold().split())


def edit_counts(
    references: Sequence[str], hypotheses: Sequence[str | None], *, characters: bool = False
) -> npt.NDArray[np.int64]:
    """Return edits (substitutions, deletions, insertions) and the length of the reference per post.

    Args:
        references: What stands in the pictures.
        hypotheses: What was read; None is the empty string.
        characters: Count characters (spaces included) rather than words.

    Returns:
        Counts of shape (posts, 2): edits, words or characters of the normalised reference.

    Raises:
        ValueError: The sequences are not parallel.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references for {len(hypotheses)} hypotheses; they must be parallel")
    if not len(references):
        return np.zeros((0, 2), np.int64)
    process = jiwer.process_characters if characters else jiwer.process_words
    outcome = process([normalise_text(text) for text in references], [normalise_text(text) for text in hypotheses])
    edits = [_edits(alignment) for alignment in outcome.alignments]
    return np.column_stack((np.asarray(edits, np.int64), np.asarray([len(units) for units in outcome.references])))


def _edits(alignment: Iterable[jiwer.AlignmentChunk]) -> int:
    return sum(
        max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for chunk in alignment
        if chunk.type != "equal"
    )


def _rate(counts: npt.NDArray[np.int64]) -> float:
    edits, length = counts.sum(axis=0)
    return float(edits / length) if length else float("nan")


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str | None]) -> float:
    """Return the word edits of all posts over the words of all references; may exceed 1.

    An unparsed or failed answer (None) deletes all words of its reference; words read where the reference is empty are
    insertions. NaN where no reference holds a word.
    """
    return _rate(edit_counts(references, hypotheses))


def character_error_rate(references: Sequence[str], hypotheses: Sequence[str | None]) -> float:
    """Return the character edits of all posts over the characters of all references; as ``word_error_rate``."""
    return _rate(edit_counts(references, hypotheses, characters=True))


def exact_match(references: Sequence[str], hypotheses: Sequence[str | None]) -> float:
    """Return the share of posts whose normalised texts are the same; None is never a match; NaN without any post."""
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references for {len(hypotheses)} hypotheses; they must be parallel")
    pairs = zip(references, hypotheses, strict=True)
    same = [text is not None and normalise_text(true) == normalise_text(text) for true, text in pairs]
    return sum(same) / len(same) if same else float("nan")
