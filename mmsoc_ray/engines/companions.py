"""Processes that must not outlive this one: vLLM's own do when it is killed, and keep the GPU's memory."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

WATCH = 'pids=; while read -r pid; do pids="$pids $pid"; done; [ -z "$pids" ] || kill -9 $pids 2>/dev/null'
"""Reads process ids until the other end of its pipe is gone, whatever ended that process; then ends them."""
LOOK_S = 0.1


class Companions:
    """A shell at the end of a pipe that ends the children of this process when it dies, by SIGKILL too."""

    def __init__(self) -> None:
        reading, self._pipe = os.pipe()
        self._shell = subprocess.Popen(["sh", "-c", WATCH], stdin=reading, start_new_session=True)
        os.close(reading)
        self._told: set[int] = set()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Take in every child that ``multiprocessing`` starts meanwhile, as soon as it is there."""
        before = {child.pid for child in multiprocessing.active_children()}
        started = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(before, started), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            started.set()
            watcher.join()
            self._tell(before)

    def close(self) -> None:
        """Let go of the children: they have been ended in an orderly way."""
        self._shell.kill()
        self._shell.wait()
        os.close(self._pipe)

    def _watch(self, before: set[int | None], started: threading.Event) -> None:
        while not started.wait(LOOK_S):
            self._tell(before)

    def _tell(self, before: set[int | None]) -> None:
        pids = {child.pid for child in multiprocessing.active_children() if child.pid} - before - self._told
        for pid in pids:
            os.write(self._pipe, f"{pid}\n".encode())
            self._told.add(pid)
