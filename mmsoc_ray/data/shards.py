"""Shards: posts in Parquet files whose row groups are the units of work.

``<data>/<dataset>/<split>/shard-00000.parquet`` hold the posts; ``manifest.json`` beside them is written last, so its
presence proves the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from mmsoc_ray.data.posts import POST_SCHEMA, Post
from mmsoc_ray.data.storage import Storage
from mmsoc_ray.errors import ConfigurationError

MANIFEST_VERSION = 1
POSTS_PER_UNIT = 16
UNIT_BYTES = 64 * 2**20
SHARD_BYTES = 256 * 2**20
SHARD_UNITS = 1024
"""A shard is closed after so many units, too: the writer holds a few kilobytes about each until then."""


class ShardRecord(BaseModel):
    """One shard of a split: its file name, digest, and the posts of each row group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    sha256: str
    unit_posts: tuple[int, ...]


class SplitManifest(BaseModel):
    """What stands in a split of a dataset.

    Attributes:
        posts: Number of posts.
        tasks: Task name to the number of posts that have a target for it.
        columns: Columns of the shards and their types.
        digest: Digest of the posts in their order; the layout of the shards does not enter.
        licence: Note on the licence of pictures and texts.
        source: Where the posts come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = MANIFEST_VERSION
    dataset: str
    split: str
    posts: int
    tasks: dict[str, int]
    columns: dict[str, str] = {}
    digest: str
    shards: tuple[ShardRecord, ...]
    licence: str = ""
    source: str = ""


def split_folder(dataset: str, split: str) -> str:
    """Return the folder of a split below the data root."""
    return f"{dataset}/{split}"


def read_manifest(data: Storage, dataset: str, split: str) -> SplitManifest:
    """Read a split's manifest and check that every shard that it names is there.

    Raises:
        ConfigurationError: Where the manifest or a shard is missing, or the manifest cannot be read.
    """
    folder = split_folder(dataset, split)
    address = f"{data.uri}/{folder}/manifest.json"
    try:
        manifest = SplitManifest.model_validate_json(data.read(f"{folder}/manifest.json"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{address} does not exist. Prepare the split (mmsoc data prepare), or name another dataset, split or data "
            f"folder in the grid."
        ) from error
    except ValidationError as error:
        raise ConfigurationError(
            f"{address} is no manifest of this version: {error}. Prepare the split again."
        ) from error
    present = set(data.list_files(folder))
    missing = [shard.file for shard in manifest.shards if f"{folder}/{shard.file}" not in present]
    if missing:
        raise ConfigurationError(
            f"{data.uri}/{folder}/{missing[0]} is missing ({len(missing)} of {len(manifest.shards)} shards of "
            f"{dataset}/{split}). Prepare the split again."
        )
    return manifest


def write_split(
    data: Storage,
    dataset: str,
    split: str,
    posts: Iterable[Post],
    *,
    licence: str = "",
    source: str = "",
    posts_per_unit: int = POSTS_PER_UNIT,
    unit_bytes: int = UNIT_BYTES,
    shard_bytes: int = SHARD_BYTES,
) -> SplitManifest:
    """Write a split as shards, streaming: at most one unit of posts is held in memory.

    The same posts give the same bytes. A split that is there already is replaced.

    Args:
        data: Root of all datasets.
        dataset: Name of the dataset; every post must carry it.
        split: Name of the split; every post must carry it.
        posts: The posts, with unique ``sample_id``.
        licence: Licence note for the manifest.
        source: Where the posts come from, for the manifest.
        posts_per_unit: Bound on the posts of a row group.
        unit_bytes: Bound on the bytes of pictures and texts of a row group.
        shard_bytes: A shard is closed once it holds so many bytes.

    Raises:
        ConfigurationError: For a post of another dataset or split, or a repeated ``sample_id``.
    """
    seen: set[bytes] = set()
    with SplitWriter(
        data, dataset, split, posts_per_unit=posts_per_unit, unit_bytes=unit_bytes, shard_bytes=shard_bytes
    ) as writer:
        for post in posts:
            key = hashlib.blake2b(post.sample_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if key in seen:
                raise ConfigurationError(f"Post {post.post_key!r} stands twice. Give each post its own sample_id.")
            seen.add(key)
            writer.add(post)
        return writer.finish(licence, source)


def _post_bytes(post: Post) -> int:
    return len(post.image or b"") + 4 * len(post.text or "") + 4 * len(post.transcription or "")


class _HashingFile:
    """Passes bytes on to a file and hashes them."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.hash = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._handle.write(data)

    def flush(self) -> None:
        self._handle.flush()

    def close(self) -> None:
        self.closed = True


class SplitWriter:
    """Writes one split post by post: turns posts into units, units into shards, and keeps counts and digest.

    A context manager: left without ``finish``, it removes its unfinished shard and leaves no manifest, so that the
    split counts as not prepared. At most one unit of posts is held in memory. That ids are unique is the caller's care.

    Args:
        data: Root of all datasets.
        dataset: Name of the dataset; every post must carry it.
        split: Name of the split; every post must carry it.
        posts_per_unit: Bound on the posts of a row group.
        unit_bytes: Bound on the bytes of pictures and texts of a row group.
        shard_bytes: A shard is closed once it holds so many bytes.
    """

    def __init__(
        self,
        data: Storage,
        dataset: str,
        split: str,
        *,
        posts_per_unit: int = POSTS_PER_UNIT,
        unit_bytes: int = UNIT_BYTES,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self._data, self._dataset, self._split = data, dataset, split
        self._posts_per_unit, self._unit_bytes, self._shard_bytes = posts_per_unit, unit_bytes, shard_bytes
        self._unit: list[Post] = []
        self._held = 0
        self._tasks: Counter[str] = Counter()
        self._digest = hashlib.sha256()
        self._shards: list[ShardRecord] = []
        self._shard = contextlib.ExitStack()
        self._open: Any = None
        self._unit_posts: list[int] = []
        self._manifest = f"{split_folder(dataset, split)}/manifest.json"

    def __enter__(self) -> SplitWriter:
        """Void the manifest of a split that is there already: its shards are about to be replaced."""
        if self._data.exists(self._manifest):
            self._data.write(self._manifest, b'{"note": "unfinished: its shards are being replaced"}\n')
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Remove an unfinished shard."""
        unfinished = error or RuntimeError("the split was not finished")
        self._shard.__exit__(type(unfinished), unfinished, trace)

    def add(self, post: Post) -> None:
        """Add a post.

        Raises:
            ConfigurationError: For a post of another dataset or split.
        """
        if (post.dataset, post.split) != (self._dataset, self._split):
            raise ConfigurationError(f"Post {post.post_key!r} does not belong to {self._dataset}/{self._split}.")
        size = _post_bytes(post)
        if self._unit and (len(self._unit) >= self._posts_per_unit or self._held + size > self._unit_bytes):
            self._write_unit()
        self._unit.append(post)
        self._held += size

    def finish(self, licence: str = "", source: str = "") -> SplitManifest:
        """Write what is left, then the manifest.

        Args:
            licence: Licence note for the manifest.
            source: Where the posts come from, for the manifest.
        """
        if self._unit:
            self._write_unit()
        if self._open is not None:
            self._finish_shard()
        manifest = SplitManifest(
            dataset=self._dataset,
            split=self._split,
            posts=sum(sum(shard.unit_posts) for shard in self._shards),
            tasks=dict(sorted(self._tasks.items())),
            columns={field.name: str(field.type) for field in POST_SCHEMA},
            digest=self._digest.hexdigest(),
            shards=tuple(self._shards),
            licence=licence,
            source=source,
        )
        content = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True)
        self._data.write(self._manifest, content.encode())
        return manifest

    def _write_unit(self) -> None:
        for post in self._unit:
            self._tasks.update(post.targets.keys())
            self._digest.update(_post_digest(post))
        if self._open is None:
            self._start_shard()
        _, hashing, writer = self._open
        writer.write_table(pa.Table.from_pylist([post.to_row() for post in self._unit], schema=POST_SCHEMA))
        self._unit_posts.append(len(self._unit))
        self._unit, self._held = [], 0
        if hashing.size >= self._shard_bytes or len(self._unit_posts) >= SHARD_UNITS:
            self._finish_shard()

    def _start_shard(self) -> None:
        file = f"shard-{len(self._shards):05d}.parquet"
        handle = self._shard.enter_context(self._data.open_output(f"{split_folder(self._dataset, self._split)}/{file}"))
        hashing = _HashingFile(handle)
        writer = pq.ParquetWriter(pa.PythonFile(hashing, mode="w"), POST_SCHEMA, compression="zstd")
        self._open = (file, hashing, writer)

    def _finish_shard(self) -> None:
        file, hashing, writer = self._open
        writer.close()
        self._shard.close()
        self._shards.append(ShardRecord(file=file, sha256=hashing.hash.hexdigest(), unit_posts=tuple(self._unit_posts)))
        self._open, self._unit_posts = None, []


def _post_digest(post: Post) -> bytes:
    row = post.to_row()
    row["image"] = hashlib.sha256(post.image).hexdigest() if post.image is not None else None
    return hashlib.sha256(json.dumps(row, sort_keys=True, ensure_ascii=True).encode()).digest()
