"""Rows become posts: fields, targets and pictures, each checked. Pure but for reading pictures."""

from __future__ import annotations

import ast
import errno
import math
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmsoc_ray.config.mapping import FILE_COLUMN, PictureColumn, SourceMapping, TargetColumn
from mmsoc_ray.data.pictures import MAX_PIXELS, DecompressionBomb, PictureError, decode_picture
from mmsoc_ray.data.posts import Post
from mmsoc_ray.data.sources.report import Dropped, Reason
from mmsoc_ray.data.sources.rows import Row, is_utf8
from mmsoc_ray.data.sources.urls import FetchError, fetch
from mmsoc_ray.data.storage import LocalStorage, Storage, open_storage
from mmsoc_ray.tasks import Task

PICTURE_BYTES = 32 * 2**20
"""A larger picture file is dropped unread: half of what a unit of posts may weigh."""

LIST_CHARACTERS = 2**16
"""A longer text is not read as a list: parsing it could take all memory."""

SLICE_ROWS = 64
SLICE_BYTES = 16 * 2**20
"""Bounds of what is converted in one go, so of what waits in memory for each worker."""


@dataclass(frozen=True)
class SourceRow:
    """A row with its place: the split that it belongs to and the id that its post gets."""

    row: Row
    split: str
    sample_id: str


Placed = SourceRow | Dropped
"""A row with its place, or why it has none."""


class _Refused(Exception):
    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Converter:
    """Turns rows into posts. Travels to workers.

    Attributes:
        mapping: What becomes what.
        source_uri: Root of the source, for pictures that are files.
    """

    mapping: SourceMapping
    source_uri: str

    def __call__(self, rows: Sequence[Placed]) -> list[Post | Dropped]:
        """Convert rows in order; one outcome each.

        Raises:
            OSError: Where the source does not answer; that is no reason to drop posts.
        """
        source = open_storage(self.source_uri)
        if isinstance(source, LocalStorage) and not source.root.is_dir():
            raise OSError(errno.ENOENT, "no such folder on this node; use a folder that all nodes share", source.uri)
        return [self._outcome(source, row) for row in rows]

    def _outcome(self, source: Storage, placed: Placed) -> Post | Dropped:
        if isinstance(placed, Dropped):
            return placed
        try:
            return self._post(source, placed)
        except _Refused as refused:
            return Dropped(placed.row.where, refused.reason, refused.detail)

    def _post(self, source: Storage, placed: SourceRow) -> Post:
        mapping, row = self.mapping, placed.row
        text, transcription = _joined(row, mapping.text), _joined(row, mapping.transcription)
        targets = {task: _references(row, mapping.task(task), target) for task, target in mapping.targets.items()}
        image = None if mapping.image is None else _picture(source, placed, mapping.image)
        if image is None and text is None and transcription is None:
            raise _Refused(Reason.empty_post)
        return Post(placed.sample_id, mapping.dataset, placed.split, image, text, transcription, targets)


def written(value: Any) -> str:
    """Return a value of a table as a label or id is written: white space stripped, ``1.0`` as ``1``, empty for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def value_of(row: Row, column: str) -> Any:
    """Return a row's value in a column, or its file for ``$file``; None where the row lacks the column."""
    return row.file if column == FILE_COLUMN else row.values.get(column)


def _text(row: Row, column: str, value: Any) -> str:
    text = written(value)
    if not is_utf8(text):
        raise _Refused(Reason.not_utf8, f"column {column!r}: {text.encode('utf-8', 'surrogateescape')[:60]!r}")
    return text


def _joined(row: Row, columns: Sequence[str] | None) -> str | None:
    texts = [_text(row, column, value_of(row, column)) for column in columns or ()]
    return "\n".join(text for text in texts if text) or None


def _references(row: Row, task: Task, target: TargetColumn) -> tuple[str, ...]:
    value = value_of(row, target.column)
    if target.as_list and isinstance(value, str):
        value = _list_in(value)
    parts = list(value) if isinstance(value, list | tuple) else [value]
    if target.separator is not None:
        parts = [part for text in parts for part in _text(row, target.column, text).split(target.separator)]
    references = tuple(text for part in parts if (text := _text(row, target.column, part)))
    if not references:
        raise _Refused(Reason.missing_target, f"{task.name}: column {target.column!r} is empty")
    labels = task.labels
    if not task.labels:
        return references
    labels = references if target.labels is None else tuple(target.labels.get(part, "") for part in references)
    if not set(labels) <= set(task.labels) or (task.kind == "classification" and len(labels) > 1):
        allowed = ", ".join(task.labels if target.labels is None else target.labels)
        raise _Refused(Reason.unknown_label, f"{task.name}: {', '.join(references)[:60]!r} is none of {allowed}")
    return tuple(dict.fromkeys(labels))


def _list_in(text: str) -> list[Any] | None:
    """Return the list that a text writes out; None where it writes none, or is too long to be read in one go."""
    try:
        value = ast.literal_eval(text.strip()) if len(text) <= LIST_CHARACTERS else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, list) else None


def _picture(source: Storage, placed: SourceRow, column: PictureColumn) -> bytes | None:
    row, column = placed.row, column.model_copy(update={"folder": column.folder.replace("{split}", placed.split)})
    value = value_of(row, column.column)
    if isinstance(value, dict):  # Hugging Face's struct; without bytes its path names a file
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if not isinstance(value, bytes):
        value = _text(row, column.column, value)
    if not value:
        if column.optional:
            return None
        raise _Refused(Reason.missing_picture, f"column {column.column!r} is empty")
    if isinstance(value, bytes):
        data = value
    else:
        data = _picture_at(value) if column.url else _picture_file(source, column, value)
    _check_picture(data, value if isinstance(value, str) else f"column {column.column!r}")
    return data


def _picture_at(url: str) -> bytes:
    try:
        return fetch(url, max_bytes=PICTURE_BYTES)
    except FetchError as error:
        raise _Refused(Reason.missing_picture, f"{url[:200]}: {error}") from error


def _picture_file(source: Storage, column: PictureColumn, name: str) -> bytes:
    path = posixpath.normpath(posixpath.join(column.folder, name.replace("\\", "/") + column.suffix))
    if path.startswith(("/", "..")) or "\0" in path:
        raise _Refused(Reason.missing_picture, f"{name!r} leads out of the source")
    try:
        with source.open_input(path) as handle:
            if handle.size() > PICTURE_BYTES:
                raise _Refused(Reason.decompression_bomb, f"{path} has {handle.size():,} bytes")
            data: bytes = handle.read()
            return data
    except OSError as error:  # a store that does not answer is no reason to drop a post
        if error.errno == errno.ENAMETOOLONG or not source.exists(path):
            raise _Refused(Reason.missing_picture, path[:200]) from error
        raise


def _check_picture(data: bytes, name: str) -> None:
    if len(data) > PICTURE_BYTES:
        raise _Refused(Reason.decompression_bomb, f"{name} has {len(data):,} bytes")
    try:
        decode_picture(data, max_side=MAX_PIXELS)
    except DecompressionBomb as error:
        raise _Refused(Reason.decompression_bomb, f"{name}: {error}") from error
    except PictureError as error:
        raise _Refused(Reason.corrupt_picture, f"{name}: {error}") from error


def slices(rows: Iterable[Placed]) -> Iterator[list[Placed]]:
    """Cut a stream of rows into lists of bounded number and bytes; a row larger than the bound stands alone."""
    held: list[Placed] = []
    weight = 0
    for row in rows:
        heavier = _weight(row)
        if held and (len(held) >= SLICE_ROWS or weight + heavier > SLICE_BYTES):
            yield held
            held, weight = [], 0
        held.append(row)
        weight += heavier
    if held:
        yield held


def _weight(placed: Placed) -> int:
    if isinstance(placed, Dropped):
        return 0
    values = (v.get("bytes") if isinstance(v, dict) else v for v in placed.row.values.values())
    return sum(len(value) for value in values if isinstance(value, str | bytes))
