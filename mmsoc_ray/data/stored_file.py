"""What a storage tells of a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class StoredFile:
    """A file below a storage's root.

    Attributes:
        path: Its path below the root.
        size: Its size in bytes.
        modified: When it was last written.
    """

    path: str
    size: int
    modified: datetime
