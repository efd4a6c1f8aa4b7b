"""Processes that train one adapter at once, of which all but one wait: overlapping jobs, a command given twice.

``<root>/training/<name>/<driver>/`` holds what one driver leaves: its checkpoints, and ``alive``, the sign that it
lives, written again every ``BEAT_S``. Who comes writes its sign, looks for those of others, and trains where there is
none younger than ``SILENT_S``; else it takes its sign back and waits. Two that come at once see each other, and both
try again a moment later.

Only time and money hang on the signs. Where two train at once after all, because one could not write for too long, each
has its own folder, every checkpoint of a name is right for both, and the first to write the adapter's card wins.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from types import TracebackType

from mmsoc_ray.data import Storage, StoredFile
from mmsoc_ray.data.storage import TEMPORARY_PREFIX
from mmsoc_ray.training.adapters import read_card

TRAINING = "training"
"""Folder of all trainings below the root."""

SIGN = "alive"
BEAT_S = 10.0
SILENT_S = 60.0
"""A driver whose sign is older than so is taken for dead: ended, or cut off from the storage."""

_CHECKPOINT = re.compile(r"(.+/step-(\d+)-[0-9a-f]+)/.+")
_jitter = random.SystemRandom()


def checkpoint_name(step: int) -> str:
    """Return a name for the folder of a checkpoint, which tells its step and is given once."""
    return f"step-{step:08}-{secrets.token_hex(4)}"


def checkpoints(root: Storage, name: str) -> list[str]:
    """Return the folders of all checkpoints of a training, whoever wrote them, those of the highest step first."""
    found = (_CHECKPOINT.fullmatch(path) for path in root.list_files(f"{TRAINING}/{name}"))
    steps = {match[1]: int(match[2]) for match in found if match is not None}
    return sorted(steps, key=lambda folder: steps[folder], reverse=True)


class Driver:
    """This process among those that train an adapter; a context, at whose end its sign goes.

    Attributes:
        id: Names its folder.
    """

    def __init__(self, root: Storage, name: str) -> None:
        """Prepare.

        Args:
            root: Where checkpoints and adapters are kept.
            name: The adapter.
        """
        self.id = secrets.token_hex(6)
        self._root, self._name, self._folder = root, name, f"{TRAINING}/{name}"
        self._sign = f"{self._folder}/{self.id}/{SIGN}"
        self._over = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Driver:
        """Do nothing yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Take the sign back, so that nobody waits for it to grow old."""
        self._stop()
        with contextlib.suppress(OSError):  # what ended the block is told, and not that the storage is gone
            self._root.delete(self._sign)

    def wait(self, note: Callable[[str], None]) -> bool:
        """Wait while another process trains the adapter.

        Args:
            note: Told that it waits.

        Returns:
            Whether this process is to train it, and is seen to until the end of the block; else it is stored by now.
        """
        told = False
        while True:
            self._write_sign()
            others = self._living(self._root.stored_files(self._folder)) - {self.id}
            # Looked for behind the signs: whoever has stored the adapter takes its sign back only then.
            stored = read_card(self._root, self._name) is not None
            if not (stored or others):
                self._beats.start()
                return True
            self._root.delete(self._sign)
            if stored:
                return False
            if not told:
                note(
                    f"{self._name}: another process trains it ({self._root.uri}/{self._folder}/{min(others)}/{SIGN} "
                    f"says which); waits for it, and goes on in its place once it is silent for {SILENT_S:.0f} s"
                )
                told = True
            time.sleep(_jitter.uniform(0.5, 1.5) * BEAT_S)

    def tidy(self) -> None:
        """Remove what this driver left, and what those left that live no more; the adapter has to be stored."""
        self._stop()
        self._write_sign()
        files = list(self._root.stored_files(self._folder))
        spared = self._living(files) - {self.id}
        for file in files:
            # Of one that comes just now, the sign may not have its name yet.
            if self._driver_of(file.path) not in spared and f"/{TEMPORARY_PREFIX}" not in file.path:
                self._root.delete(file.path)

    def _living(self, files: Iterable[StoredFile]) -> set[str]:
        """Return the drivers whose signs are young; this one has just written its own."""
        signs = {self._driver_of(file.path): file.modified for file in files if file.path.endswith(f"/{SIGN}")}
        now = max(signs.values(), default=None)  # the clock of the storage, which need not be that of this machine
        silent = timedelta(seconds=SILENT_S)
        return {driver for driver, written in signs.items() if now is not None and now - written < silent}

    def _driver_of(self, path: str) -> str:
        return path.removeprefix(f"{self._folder}/").partition("/")[0]

    def _write_sign(self) -> None:
        self._root.write(self._sign, f"{socket.gethostname()}, process {os.getpid()}\n".encode())

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with contextlib.suppress(OSError):  # what does not pass, the checkpoints meet as well
                self._write_sign()

    def _stop(self) -> None:
        self._over.set()
        if self._beats.ident is not None:
            self._beats.join()
