"""Names and notes come from users' files: what keeps them from breaking a terminal, a log line or a Markdown table."""

from __future__ import annotations

import re
import unicodedata

_MARKDOWN_SPECIAL = re.compile(r"([\\`*\[\]<>|~#&$]|(?<!\w)_|_(?!\w))")
"""An underscore inside a word emphasises nothing and stays readable in the source."""


def printable(text: str) -> str:
    """Return ``text`` on one line, every control character written as its escape (``\\n``, ``\\x1b``).

    Printing the result moves no cursor, and a terminal obeys nothing in it.
    """
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def markdown_cell(text: str) -> str:
    """Return ``text`` so that a Markdown table shows it as it is, in one cell."""
    return _MARKDOWN_SPECIAL.sub(r"\\\1", printable(text))


def _escaped(character: str) -> str:
    if unicodedata.category(character) == "Zs":  # a no-break space, for example
        return " "
    return character.encode("unicode_escape").decode("ascii")
