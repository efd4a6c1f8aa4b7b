"""Errors that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigurationError(ValueError):
    """Something that the user wrote or named is wrong; raised before anything is spent.

    The message names the file, the field, the value and the remedy. Commands print it and exit with status 2.
    """


class StorageError(OSError):
    """A storage server refused a request or cannot be reached; the message names bucket and key, cause and remedy."""


class TrainingError(RuntimeError):
    """A training cannot go on; the message says why, what to change, and which checkpoint is kept."""


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str = "") -> ConfigurationError:
    """Return the error for a name that is not known, with the nearest known one and all that are allowed.

    Args:
        kind: What the name stands for, for example ``task``.
        name: What was given.
        known: All allowed names.
        where: File and field that held the name, if known.
    """
    allowed = sorted(known)
    nearest = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    prefix = f"{where}: " if where else ""
    return ConfigurationError(f"{prefix}unknown {kind} {name!r}.{hint} Allowed: {', '.join(allowed) or '(none)'}.")
