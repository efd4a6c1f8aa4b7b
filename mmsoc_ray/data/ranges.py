"""A file object over something that is fetched by ranges of bytes."""

from __future__ import annotations

import io
from collections.abc import Callable

import pyarrow as pa

READ_AHEAD = 2**20
"""Bytes that a small read fetches: the columns of a post without its picture come in one request."""


def open_ranges(size: int, fetch: Callable[[int, int], bytes]) -> pa.NativeFile:
    """Open a file for ranged reads.

    Args:
        size: Its bytes.
        fetch: Returns the bytes from a position up to another one, all of them.
    """
    return pa.PythonFile(io.BufferedReader(_Ranges(size, fetch), READ_AHEAD), mode="r")


class _Ranges(io.RawIOBase):
    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        end = min(self._size, self._position + len(buffer))
        if end <= self._position:
            return 0
        data = self._fetch(self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
