"""The index of known answers: which files of earlier runs may hold the answer to a key."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

PREFIX_BITS = 40
FILE_BITS = 24
MAX_FILES = 1 << FILE_BITS
FILES_OF_A_KEY = 64
"""A lookup names at most so many files of one key: a question without any content of its post has the same key in every
unit of every run."""

_FILE = np.uint64(MAX_FILES - 1)


class IndexFullError(ValueError):
    """More keys or files than the index was made for."""


class KnownAnswers:
    """Keys of answers and the files that hold them, in one sorted array of 8 bytes a key.

    An entry is the first 40 bits of a key and the 24 bits of a file's number. Another key with the same first bits
    costs whoever looks into the file a read; it never gives a wrong answer, because the whole key stands there. Files
    are added one by one; then ``sort`` makes the index ready for lookups.

    Args:
        capacity: At most so many keys will be added. Memory is taken as it fills.
    """

    def __init__(self, capacity: int) -> None:
        self._entries: npt.NDArray[np.uint64] = np.empty(capacity, np.uint64)
        self._keys = 0
        self._files = _Paths()

    def __len__(self) -> int:
        return self._keys

    def add(self, path: str, row_keys: Sequence[str]) -> None:
        """Add the keys that a file holds.

        Raises:
            IndexFullError: The index has no room for the file or its keys; it stays as it was.
            ValueError: What is no hexadecimal digest.
        """
        self.add_prefixes(path, key_prefixes(row_keys))

    def add_prefixes(self, path: str, prefixes: npt.NDArray[np.uint64]) -> None:
        """Add keys that ``key_prefixes`` has shortened; see ``add``."""
        if self._keys + len(prefixes) > len(self._entries) or len(self._files) == MAX_FILES:
            raise IndexFullError(f"{len(prefixes)} more keys, where its run has planned {len(self._entries)} at most")
        if not len(prefixes):
            return
        entries = self._entries[self._keys : self._keys + len(prefixes)]
        np.bitwise_or(prefixes, np.uint64(len(self._files)), out=entries)
        self._keys += len(prefixes)
        self._files.append(path)

    def sort(self) -> None:
        """Make the index ready for lookups, in place."""
        self._entries[: self._keys].sort()

    def files_of(self, row_keys: Sequence[str]) -> dict[str, list[str]]:
        """Return the files that may hold answers, each with the keys to look for in it."""
        entries, prefixes = self._entries[: self._keys], key_prefixes(row_keys)
        first = np.searchsorted(entries, prefixes, "left")
        last = np.searchsorted(entries, prefixes | _FILE, "right")
        found: dict[int, list[str]] = {}
        for key, start, end in zip(row_keys, first.tolist(), last.tolist(), strict=True):
            for file in set((entries[start : min(end, start + FILES_OF_A_KEY)] & _FILE).tolist()):
                found.setdefault(file, []).append(key)
        return {self._files[file]: keys for file, keys in found.items()}


def key_prefixes(row_keys: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return the first 40 bits of each key, in the upper bits of a number whose other bits are 0.

    Raises:
        ValueError: What is no hexadecimal digest.
    """
    digits = PREFIX_BITS // 4
    joined = "".join(key[:digits] + "0" * (16 - digits) for key in row_keys)
    prefixes = np.frombuffer(bytes.fromhex(joined), ">u8").astype(np.uint64)
    if len(prefixes) != len(row_keys):
        raise ValueError("a key is shorter than its prefix")
    return prefixes


class _Paths:
    """Paths by number, names end to end beside each other: a sixth of what a list of strings takes."""

    def __init__(self) -> None:
        self._names = bytearray()
        self._ends = array("Q")
        self._folders: list[str] = []
        self._folder_starts: list[int] = []

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        if not self._folders or self._folders[-1] != folder:
            self._folders.append(folder)
            self._folder_starts.append(len(self))
        self._names += name.encode()
        self._ends.append(len(self._names))

    def __getitem__(self, number: int) -> str:
        folder = self._folders[bisect_right(self._folder_starts, number) - 1]
        start = self._ends[number - 1] if number else 0
        return f"{folder}/{self._names[start : self._ends[number]].decode()}"
