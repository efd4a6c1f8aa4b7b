"""Folding and tokens of answers: quotes, case, words, refusals."""

from __future__ import annotations

import re
import unicodedata

DOUBLE_QUOTES = "“”„‟«»＂〝〞「」『』"
SINGLE_QUOTES = "‘’‚‛`´＇‹›"
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"

_QUOTES = str.maketrans({**dict.fromkeys(DOUBLE_QUOTES, '"'), **dict.fromkeys(SINGLE_QUOTES, "'")})
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_DASHES = dict.fromkeys(map(ord, "‐‑‒–−"), "-")
_FOLD = {
    **_FULL_WIDTH,
    **_DASHES,
    ord("—"): " - ",
    ord("。"): ".",
    ord("="): ":",
    ord("؟"): "?",
    ord("،"): ",",
    ord("؛"): ";",
    ord("、"): ",",
    **dict.fromkeys(map(ord, INVISIBLE)),
    **_QUOTES,
}

# Words, or one mark that can end or join parts of a sentence. Every character is looked at once.
_TOKEN = re.compile(r"[^\W_]+|[.!?;:,\n/()]| -(?= )")

# What frames an answer in the output of some models: <answer>, </s>, <|im_end|>. Bounded, so that time stays linear.
_TAG = re.compile(r"<[/|]?[A-Za-z_]{1,24}\|?>")

SURROUNDING = "\"'*_.,:;!?()[]{}<>|~# \t\r\n"

COMPOSED_CHARACTERS = 4096

REFUSAL_WORDS = 40
"""A refusal opens an answer: only so many tokens are searched for one."""

_DECLINED_WORDS = (
    "answer analyze analyse assist classify comply determine describe discuss engage evaluate extract fulfill generate "
    "give help identify judge label make participate predict provide read respond say see tell transcribe view"
)
_DECLINED = frozenset(_DECLINED_WORDS.split())
_REFUSAL_OPENINGS = (("i", "am", "sorry"), ("i", "m", "sorry"), ("sorry",), ("i", "apologize"), ("i", "apologise"))
_REFUSAL_PHRASES: tuple[tuple[str, ...], ...] = (
    ("as", "an", "ai"),
    ("i", "am", "unable"),
    ("i", "m", "unable"),
    ("i", "am", "not", "able"),
    ("i", "m", "not", "able"),
    ("i", "refuse"),
    ("i", "decline"),
    ("not", "comfortable"),
)
_REFUSAL_BEGINS = frozenset(phrase[0] for phrase in _REFUSAL_PHRASES)  # "i" of ``_CANNOT`` among them
_CANNOT = (("can", "not"), ("ca", "not"), ("wo", "not"), ("will", "not"), ("could", "not"))
_PICTURE_WORDS = frozenset(("image", "images", "picture", "photo", "photograph", "text", "request", "file", "meme"))


def fold_quotes(text: str) -> str:
    """Return the text with every Unicode quote as ``"`` or ``'``."""
    return text.translate(_QUOTES)


def fold(text: str) -> str:
    """Return the text in one case, with ASCII quotes, hyphens and full-width forms, invisible characters removed.

    Composed (NFC) up to ``COMPOSED_CHARACTERS``: on hostile runs of combining marks that takes quadratic time.
    """
    composed = unicodedata.normalize("NFC", text) if len(text) <= COMPOSED_CHARACTERS else text
    return composed.translate(_FOLD).casefold()


def bare(text: str) -> str:
    """Return the folded text without the tags, quotes, marks and white space around it."""
    return _TAG.sub(" ", fold(text)).strip(SURROUNDING)


def tokens(text: str) -> list[str]:
    """Return folded words and sentence marks in order; contractions are undone (``isn't`` gives ``is not``).

    Underscore, hyphen, quotes and tags such as ``</s>`` separate words and are not tokens; a dash between spaces is the
    token ``,``.
    """
    undone = _TAG.sub(" ", fold(text)).replace("n't", " not").replace("cannot", "can not")
    return ["," if mark == " -" else mark for mark in _TOKEN.findall(undone)]


def is_refusal(text: str) -> bool:
    """Whether the answer opens by declining to answer ("I'm sorry, ...", "As an AI ...", "I cannot determine ...")."""
    words = [word for word in tokens(text[: 16 * REFUSAL_WORDS]) if word[0].isalnum()][:REFUSAL_WORDS]
    if any(tuple(words[: len(opening)]) == opening for opening in _REFUSAL_OPENINGS):
        return True
    for at, word in enumerate(words):
        if word not in _REFUSAL_BEGINS:
            continue
        if any(tuple(words[at : at + len(phrase)]) == phrase for phrase in _REFUSAL_PHRASES):
            return True
        if word == "i" and tuple(words[at + 1 : at + 3]) in _CANNOT and _DECLINED & set(words[at + 3 : at + 5]):
            return True
    return False


def names_picture(text: str) -> bool:
    """Whether the opening of the answer speaks of the picture or the request, as refusals to read one do."""
    return not _PICTURE_WORDS.isdisjoint(tokens(text[: 16 * REFUSAL_WORDS]))
