"""What is said of a disk that is full: the operating system's error does not name the file."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from mmsoc_ray.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def naming_full_disk(file: object, remedy: str) -> Iterator[None]:
    """Raise a ``StorageError`` with file, cause and remedy where a disk or a quota is full inside the block."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageError(f"cannot write {file}: {str(error.strerror).lower()}. {remedy}") from error
