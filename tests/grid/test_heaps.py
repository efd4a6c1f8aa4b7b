"""Threads share a few heaps, here and in the processes that start from here."""

import os
import subprocess
import sys

import pytest

COUNT_HEAPS = """
import ctypes, os, threading
from mmsoc_ray.grid.heaps import few_heaps
if {limited}:
    few_heaps()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(12)
def take():
    together.wait()
    libc.malloc(2000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="heaps of glibc")
@pytest.mark.parametrize(("limited", "inherited", "most"), [(True, {}, 2), (False, {"MALLOC_ARENA_MAX": "2"}, 2)])
def test_threads_share_two_heaps(limited, inherited, most):
    assert heaps(limited=limited, **inherited) <= most < heaps(limited=False)


def heaps(*, limited, **variables):
    clean = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    code = COUNT_HEAPS.format(limited=limited)
    said = subprocess.run([sys.executable, "-c", code], env={**clean, **variables}, capture_output=True, text=True)
    return said.stdout.count("<heap nr=")


def test_the_number_that_is_set_already_is_left(monkeypatch):
    from mmsoc_ray.grid.heaps import few_heaps

    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    few_heaps()
    assert os.environ["MALLOC_ARENA_MAX"] == "7"
