"""Units: what one pass through the pipeline works on. A unit is a row group of a shard."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow.parquet as pq

from mmsoc_ray.data.posts import POST_SCHEMA, Post
from mmsoc_ray.data.shards import SplitManifest, split_folder
from mmsoc_ray.data.storage import Storage


@dataclass(frozen=True)
class Unit:
    """One row group of a shard, or its first posts where a limit cuts it.

    Attributes:
        unit_id: Unique within a run; names the file of its predictions.
        dataset: Name of the dataset.
        split: Name of the split.
        shard: Path of the shard below the data root.
        row_group: Number of the row group in the shard.
        posts: Posts to take from the row group, from its start.
    """

    unit_id: str
    dataset: str
    split: str
    shard: str
    row_group: int
    posts: int


def unit_id(dataset: str, split: str, shard: int, row_group: int) -> str:
    """Return the id of a unit, which names the file of its predictions."""
    return f"{dataset}-{split}-{shard:05d}-{row_group:05d}"


def unit_posts(manifest: SplitManifest, *, limit: int | None = None) -> list[list[int]]:
    """Return how many posts each unit of a split takes, by shard.

    Args:
        manifest: The split.
        limit: Take only the first so many posts of the split.
    """
    left = manifest.posts if limit is None else min(limit, manifest.posts)
    shards: list[list[int]] = []
    for shard in manifest.shards:
        taken = []
        for posts in shard.unit_posts:
            if left > 0:
                taken.append(min(posts, left))
            left -= posts
        if taken:
            shards.append(taken)
    return shards


def plan_units(manifest: SplitManifest, *, limit: int | None = None) -> Iterator[Unit]:
    """Yield the units of a split in order, as ``unit_posts`` counts them."""
    for number, units in enumerate(unit_posts(manifest, limit=limit)):
        for row_group, posts in enumerate(units):
            yield Unit(
                unit_id=unit_id(manifest.dataset, manifest.split, number, row_group),
                dataset=manifest.dataset,
                split=manifest.split,
                shard=f"{split_folder(manifest.dataset, manifest.split)}/{manifest.shards[number].file}",
                row_group=row_group,
                posts=posts,
            )


def read_unit(data: Storage, unit: Unit) -> list[Post]:
    """Read the posts of a unit.

    Raises:
        OSError: Where the shard cannot be read; the message names it.
    """
    with data.open_input(unit.shard) as handle:
        # In this thread: its task has one CPU, and with Arrow's threads the peak of its memory is a matter of chance.
        table = pq.ParquetFile(handle).read_row_group(unit.row_group, columns=POST_SCHEMA.names, use_threads=False)
    return [Post.from_row(row) for row in table.slice(0, unit.posts).to_pylist()]


def read_texts(data: Storage, manifest: SplitManifest) -> Iterator[Post]:
    """Yield every post of a split without its picture, row group by row group."""
    columns = [name for name in POST_SCHEMA.names if name != "image"]
    for shard in manifest.shards:
        with data.open_input(f"{split_folder(manifest.dataset, manifest.split)}/{shard.file}") as handle:
            file = pq.ParquetFile(handle)
            for row_group in range(file.num_row_groups):
                for row in file.read_row_group(row_group, columns=columns).to_pylist():
                    yield Post.from_row({**row, "image": None})


def read_pictures(data: Storage, manifest: SplitManifest, post_keys: Collection[str]) -> dict[str, bytes]:
    """Return the pictures' files of some posts of a split; a post without one is left out.

    Reads the keys of the split, and the pictures of those row groups only that hold one of the posts.
    """
    found: dict[str, bytes] = {}
    for shard in manifest.shards:
        with data.open_input(f"{split_folder(manifest.dataset, manifest.split)}/{shard.file}") as handle:
            file = pq.ParquetFile(handle)
            for row_group in range(file.num_row_groups):
                keys = file.read_row_group(row_group, columns=["post_key"])["post_key"].to_pylist()
                wanted = [row for row, key in enumerate(keys) if key in post_keys]
                if not wanted:
                    continue
                images = file.read_row_group(row_group, columns=["image"])["image"]
                found |= {keys[row]: image for row in wanted if (image := images[row].as_py()) is not None}
    return found


def read_targets(data: Storage, manifest: SplitManifest) -> Iterator[dict[str, list[str]]]:
    """Yield the targets of every post of a split, row group by row group, without reading a picture."""
    for shard in manifest.shards:
        with data.open_input(f"{split_folder(manifest.dataset, manifest.split)}/{shard.file}") as handle:
            file = pq.ParquetFile(handle)
            for row_group in range(file.num_row_groups):
                for row in file.read_row_group(row_group, columns=["targets"]).to_pylist():
                    yield dict(row["targets"])
