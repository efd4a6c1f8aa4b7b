"""The ways in which people and models say yes and no at the head of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

_SPOKEN = {
    "yes": "yes; yeah; yep; yup; absolutely yes; of course",
    "no": "no; nope; nah; not really; not at all; not particularly; absolutely not; definitely not; certainly not; "
    "of course not",
}
YES_NO: dict[tuple[str, ...], str] = {
    tuple(words.split()): meaning for meaning, spoken in _SPOKEN.items() for words in spoken.split("; ")
}
"""Tokens to ``yes`` or ``no``."""

LONGEST = max(map(len, YES_NO))

FILLERS = frozenset(("i", "would", "d", "say", "think", "believe", "definitely", "certainly", "clearly", "well", "oh"))
"""Words before a yes or a no that change nothing, as in "I would say no"."""


def spoken_yes_no(said: Sequence[str]) -> tuple[str, int] | None:
    """Return the yes or no with which tokens begin, and how many tokens it takes with the fillers before it."""
    start = next((at for at, word in enumerate(said) if word not in FILLERS), len(said))
    for begin in (0, start):
        for length in range(min(LONGEST, len(said) - begin), 0, -1):
            meaning = YES_NO.get(tuple(said[begin : begin + length]))
            if meaning is not None:
                return meaning, begin + length
    return None
