"""Durable attempts: what engines were asked, so that a post that ends its engine's process is found and left alone.

Before an engine is asked, a small file says so; what came of it stands elsewhere. Files without an answer are deaths.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage
from mmsoc_ray.grid.sink import write_unit

_TRY = "try-"
_ANSWERING = "answering"
_LOADING = "loading"


@dataclass(frozen=True)
class Attempts:
    """The attempts of one model's configuration, as one engine sees them.

    An engine that has never answered says nothing about the posts that it was asked: tries of a place (a process of the
    job on a node) count only where an engine of that place has answered at least once, or where it is this one.

    Attributes:
        root: Output root.
        folder: Folder of the attempts below it.
        place: Where this engine runs: the process of the job and the node.
    """

    root: Storage
    folder: str
    place: str

    def begin(self, unit_id: str, post: int | None = None) -> None:
        """Record that the engine is about to be asked a whole unit, or one of its posts alone."""
        record = {"unit_id": unit_id, "post": post, "place": self.place, "pid": os.getpid(), "time": time.time()}
        self._write(f"{self._of(unit_id, post)}/{_TRY}{self.place}-{secrets.token_hex(4)}.json", record)

    def tries(self, unit_id: str, post: int | None = None) -> int:
        """Return how often a unit was asked whole, or one of its posts alone."""
        folder = self._of(unit_id, post)
        places = [_place(path) for path in self.root.list_files(folder) if path.startswith(f"{folder}/{_TRY}")]
        if not places:
            return 0
        counted = {self.place, *map(_name, self.root.list_files(f"{self.folder}/{_ANSWERING}"))}
        return sum(place in counted for place in places)

    def answering(self) -> bool:
        """Whether an engine of this place has answered at least once."""
        return self.root.exists(self._answering)

    def set_answering(self) -> None:
        """Record that an engine of this place has answered."""
        self._write(self._answering, {"pid": os.getpid(), "time": time.time()})

    def kept(self, unit_id: str, post: int) -> pa.Table | None:
        """Return what was answered, or given up, to a post that was asked alone; None where that is still open."""
        path = self._kept(unit_id, post)
        if not self.root.exists(path):
            return None
        return pq.read_table(pa.BufferReader(self.root.read(path)))

    def keep(self, unit_id: str, post: int, predictions: pa.Table) -> None:
        """Keep the predictions of a post that was asked alone, so that it is never asked again."""
        write_unit(self.root, self._kept(unit_id, post), predictions)

    def loads_lost(self) -> int:
        """Return how many engines of this place began to load since one last ended loading."""
        files = self.root.list_files(f"{self.folder}/{_LOADING}/{self.place}")
        return next((lost for lost, path in enumerate(reversed(files)) if path.endswith("-loaded.json")), len(files))

    def begin_loading(self) -> None:
        """Record that an engine starts to load."""
        self._loading("begun")

    def end_loading(self) -> None:
        """Record that the engine has loaded."""
        self._loading("loaded")

    def _loading(self, event: str) -> None:
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}-{event}"
        self._write(f"{self.folder}/{_LOADING}/{self.place}/{name}.json", {"pid": os.getpid()})

    def _of(self, unit_id: str, post: int | None) -> str:
        return f"{self.folder}/{unit_id}" if post is None else f"{self.folder}/{unit_id}/post-{post:05d}"

    def _kept(self, unit_id: str, post: int) -> str:
        return f"{self._of(unit_id, post)}/predictions.parquet"

    @property
    def _answering(self) -> str:
        return f"{self.folder}/{_ANSWERING}/{self.place}.json"

    def _write(self, path: str, record: Mapping[str, object]) -> None:
        self.root.write_once(path, json.dumps(record, sort_keys=True).encode())


def engine_calls(root: Storage, folder: str) -> dict[tuple[str, int | None], int]:
    """Return how often engines were asked each unit whole, ``(unit_id, None)``, and each post alone.

    Args:
        root: Output root.
        folder: Folder of the attempts of one model's configuration.
    """
    calls: dict[tuple[str, int | None], int] = {}
    for path in root.list_files(folder):
        unit_id, *below = path.removeprefix(f"{folder}/").split("/")
        if below and below[-1].startswith(_TRY):
            key = (unit_id, int(below[0].removeprefix("post-")) if len(below) > 1 else None)
            calls[key] = calls.get(key, 0) + 1
    return calls


def kept_alone(root: Storage, folder: str) -> set[str]:
    """Return the files of all posts that were asked alone and are done with."""
    return {path for path in root.list_files(folder) if path.endswith("/predictions.parquet")}


def _name(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json")


def _place(path: str) -> str:
    return _name(path).removeprefix(_TRY).rpartition("-")[0]
