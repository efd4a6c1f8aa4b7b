"""What the tokenizer makes of the answer words of labels: which tokens a label's score is read from.

A word's tokens are those that the tokenizer makes of it behind the wrapped prompt. A space goes before the word unless
the prompt ends in white space or in a control token: behind ``ASSISTANT:`` the word is `` humorous``, behind
``<|im_start|>assistant`` and a line end it is ``humorous``. Where a token would span the end of the prompt, and for an
encoder-decoder, whose answer stands apart, the word is tokenised alone. Another spelling of a label (capitals, quotes)
counts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

TAIL_CHARACTERS = 64
"""So much of the prompt's end decides how the tokenizer splits a word behind it."""

LabelTokens = Mapping[str, tuple[int, ...]]
LabelScores = dict[str, float]


class LabelWords:
    """Gives the tokens of answer words.

    Args:
        tokenizer: The checkpoint's.
        answers_apart: Whether the answer does not stand behind the prompt: an encoder-decoder's.
    """

    def __init__(self, tokenizer: Any, *, answers_apart: bool = False) -> None:
        self._tokenizer = tokenizer
        self._answers_apart = answers_apart
        self._word_tokens = lru_cache(maxsize=4096)(self._split)

    def tokens(self, prompt: str, labels: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
        """Return the tokens of each label's answer word behind a wrapped prompt.

        Args:
            prompt: The whole prompt, wrapped.
            labels: Label to answer word.

        Raises:
            ValueError: The tokenizer makes nothing of a word.
        """
        tail = "" if self._answers_apart else prompt[-TAIL_CHARACTERS:]
        return {label: self._word_tokens(tail, word) for label, word in labels.items()}

    def _split(self, tail: str, word: str) -> tuple[int, ...]:
        before = self._encode(tail)
        in_control = bool(before) and before[-1] in self._tokenizer.added_tokens_decoder
        spaced = word if not tail or tail[-1].isspace() or in_control else f" {word}"
        whole = self._encode(tail + spaced)
        found = whole[len(before) :] if whole[: len(before)] == before else self._encode(word)
        if not found:
            raise ValueError(f"the tokenizer makes no token of the answer word {word!r}: its label cannot be scored")
        return tuple(found)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False) if text else []
        return ids


def shares(sums: Mapping[str, float]) -> LabelScores | None:
    """Return the softmax over the labels of their words' log-probabilities; None where one is no number."""
    found = torch.softmax(torch.tensor(list(sums.values()), dtype=torch.float64), dim=0)
    return dict(zip(sums, found.tolist(), strict=True)) if bool(found.isfinite().all()) else None
