"""Reading WebDataset tars: neighbouring members with one key are a row."""

from __future__ import annotations

import itertools
import posixpath
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from mmsoc_ray.data.sources.rows import Row, parse_json

KEY_COLUMN = "__key__"
"""Column of a row's key: the path of its members up to the first dot of their names."""

TEXT_SUFFIXES = ("txt", "text", "cls", "caption")
MEMBER_BYTES = 64 * 2**20
"""A row with a larger member is not read."""


def tar_rows(file: str, handle: BinaryIO) -> Iterator[Row]:
    """Yield the rows of a tar in order.

    A member ``0001.jpg`` is the column ``jpg`` of the row ``0001``; text members are text, the fields of ``0001.json``
    are the columns ``json.<field>``, all others are bytes. Nothing is unpacked to disk; only plain files count.
    """
    with tarfile.open(fileobj=handle, mode="r|") as tar:
        for number, (key, members) in enumerate(itertools.groupby(_members(tar), key=lambda found: found[0]), start=1):
            values: dict[str, Any] = {KEY_COLUMN: key}
            problem = None
            for _, suffix, content in members:
                try:
                    values.update(_columns(suffix, content))
                except ValueError as error:
                    problem = f"{suffix}: {error}"
            yield Row(file, number, {} if problem else values, problem)


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, str, bytes | None]]:
    """Yield key, suffix and content of every plain file; no content where it is too large."""
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # else the module keeps them all
        if not member.isreg():
            continue
        folder, base = posixpath.split(member.name)
        stem, _, suffix = base.partition(".")
        handle = tar.extractfile(member) if member.size <= MEMBER_BYTES else None
        yield posixpath.join(folder, stem), suffix.lower(), handle.read() if handle is not None else None


def _columns(suffix: str, content: bytes | None) -> dict[str, Any]:
    if content is None:
        raise ValueError(f"more than {MEMBER_BYTES:,} bytes")
    if suffix == "json":
        fields = parse_json(content)
        return {f"json.{name}": value for name, value in fields.items()}
    return {suffix: content.decode("utf-8", "surrogateescape") if suffix in TEXT_SUFFIXES else content}
