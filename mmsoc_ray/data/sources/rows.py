"""A row of a source, as every reader gives it.

Text that is not UTF-8 keeps its stray bytes as lone surrogates, by which ``is_utf8`` tells it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """A row of a source.

    Attributes:
        file: Path of its file below the source.
        number: Its number in the file, from 1 (a header does not count).
        values: Column to value; a column that the row lacks is absent.
        problem: Why the row cannot be read, or None.
    """

    file: str
    number: int
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None

    @property
    def where(self) -> str:
        """File and number, for people."""
        return f"{self.file}, row {self.number}"


def is_utf8(text: str) -> bool:
    """Whether a text that a reader gave was UTF-8 in its file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_json(content: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        ValueError: Where it is none.
    """
    try:
        values = json.loads(content.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    return values
