"""What keeps the memory of processes that live long from growing slowly: options of glibc's allocator."""

from __future__ import annotations

import contextlib
import ctypes
import os

_VARIABLE = "MALLOC_ARENA_MAX"
_M_ARENA_MAX = -8
_M_MMAP_THRESHOLD = -3
"""Of ``malloc.h``: the numbers of the options."""

LARGE = 2**20


def few_heaps(heaps: int = 2) -> None:
    """Let the threads of this process share some heaps, and those of each process that it starts from now on.

    glibc gives each of Ray's dozens of threads a heap of its own, and each grows to a peak of its own: over 720 units a
    driver that only waits grew from 148 MiB to 162 in 200 s, with two heaps from 144 to 154, and a worker that prepares
    units from 105 to 137, with two heaps from 106 to 114. ``MALLOC_ARENA_MAX`` says otherwise where it is set; without
    glibc there is nothing to do.
    """
    _set(_M_ARENA_MAX, os.environ.setdefault(_VARIABLE, str(heaps)))


def give_back_large_blocks() -> None:
    """Let this process give each block of a MiB and more back to the system as soon as it is freed.

    Else glibc takes larger and larger blocks, such as decoded pictures, from its heaps, where they leave gaps. For
    processes that compute little: each such block is zeroed anew by the system.
    """
    _set(_M_MMAP_THRESHOLD, str(LARGE))


def _set(option: int, value: str) -> None:
    with contextlib.suppress(OSError, AttributeError, ValueError):
        ctypes.CDLL("libc.so.6").mallopt(option, int(value))
