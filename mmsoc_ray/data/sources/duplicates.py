"""Finding ids that stand twice in millions, with 16 bytes each."""

from __future__ import annotations

import hashlib

import numpy as np

DIGEST_BYTES = 16
STEP = 65_536


class Duplicates:
    """Digests of all keys, gathered first; then tells which key was met before.

    Two passes are the price of the small memory: a set of digests takes about a hundred bytes a key, a sorted array 16.
    Digests are of 128 bits, so that two keys among 10**12 share one with a probability below 10**-14.
    """

    def __init__(self) -> None:
        self._digests = np.empty(STEP, f"S{DIGEST_BYTES}")
        self._count = 0
        self._repeated = self._digests[:0]
        self._met = np.zeros(0, bool)

    def gather(self, key: str) -> None:
        """Take note of a key, in the first pass."""
        if self._count == len(self._digests):
            self._digests.resize(self._count + STEP, refcheck=False)  # in place, where numpy and the system can
        self._digests[self._count] = _digest(key)
        self._count += 1

    def close(self) -> None:
        """End the first pass: keep only what stands twice."""
        self._digests.resize(self._count, refcheck=False)
        self._digests.sort()
        repeated = [self._digests[:0]]
        for start in range(0, self._count, STEP):
            part = self._digests[start : start + STEP + 1]
            repeated.append(part[1:][part[1:] == part[:-1]])
        self._repeated = np.unique(np.concatenate(repeated))
        self._met = np.zeros(len(self._repeated), bool)
        self._digests = self._digests[:0].copy()

    def restart(self) -> None:
        """Begin a second pass anew."""
        self._met[:] = False

    def met_before(self, key: str) -> bool:
        """Whether the second pass asked for this key before."""
        if not len(self._repeated):
            return False
        digest = np.array(_digest(key), self._repeated.dtype)
        at = int(np.searchsorted(self._repeated, digest))
        if at == len(self._repeated) or self._repeated[at] != digest:
            return False
        met = bool(self._met[at])
        self._met[at] = True
        return met


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).digest()
