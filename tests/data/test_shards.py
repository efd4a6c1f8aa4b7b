import json
import shutil
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data import Post, open_storage, plan_units, read_manifest, read_targets, read_unit, write_split
from mmsoc_ray.errors import ConfigurationError


def posts(count: int, *, size: int = 10) -> Iterator[Post]:
    for number in range(count):
        yield Post(
            sample_id=f"p{number}",
            dataset="toy",
            split="test",
            image=bytes([number % 251]) * size,
            text=f"text {number}",
            targets={"humor": ("humorous",), "tagging": ("a", "b")},
        )


def test_posts_come_back_as_they_were_written(tmp_path):
    data = open_storage(tmp_path)
    manifest = write_split(data, "toy", "test", posts(10), posts_per_unit=4)
    read = [post for unit in plan_units(manifest) for post in read_unit(data, unit)]
    assert read == list(posts(10))


def test_a_row_group_is_a_unit_bounded_in_posts_and_in_bytes(tmp_path):
    data = open_storage(tmp_path)
    by_posts = write_split(data, "toy", "test", posts(10), posts_per_unit=4)
    assert by_posts.shards[0].unit_posts == (4, 4, 2)
    assert pq.ParquetFile(tmp_path / "toy/test/shard-00000.parquet").num_row_groups == 3
    by_bytes = write_split(data, "toy", "test", posts(6, size=1000), unit_bytes=2500)
    assert by_bytes.shards[0].unit_posts == (2, 2, 2)


def test_a_post_larger_than_the_bound_stands_alone(tmp_path):
    manifest = write_split(open_storage(tmp_path), "toy", "test", posts(3, size=5000), unit_bytes=100)
    assert manifest.shards[0].unit_posts == (1, 1, 1)


def test_large_splits_fill_several_shards_with_one_digest(tmp_path):
    data = open_storage(tmp_path)
    one = write_split(data, "toy", "test", posts(12), posts_per_unit=2)
    several = write_split(data, "toy", "test", posts(12), posts_per_unit=2, shard_bytes=1)
    assert len(one.shards) == 1
    assert len(several.shards) == 6
    assert one.digest == several.digest


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_split(open_storage(tmp_path / name), "toy", "test", posts(9), posts_per_unit=4)
    files = sorted(f.relative_to(tmp_path / "a") for f in (tmp_path / "a").rglob("*") if f.is_file())
    assert len(files) == 2
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_the_digest_changes_with_one_byte_of_a_picture(tmp_path):
    data = open_storage(tmp_path)
    before = write_split(data, "toy", "test", posts(3))
    changed = [*list(posts(3))[:2], Post("p2", "toy", "test", image=b"other", text="text 2", targets={"humor": ("x",)})]
    assert write_split(data, "toy", "test", changed).digest != before.digest


def test_a_repeated_sample_id_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="'toy/test/p0' stands twice"):
        write_split(open_storage(tmp_path), "toy", "test", [*posts(1), *posts(1)])


def test_a_failed_writer_leaves_no_manifest(tmp_path):
    data = open_storage(tmp_path)
    with pytest.raises(ConfigurationError):
        write_split(data, "toy", "test", [*posts(1), *posts(1)])
    with pytest.raises(ConfigurationError, match=r"manifest\.json does not exist"):
        read_manifest(data, "toy", "test")


def test_a_missing_shard_is_named(tmp_path):
    data = open_storage(tmp_path)
    write_split(data, "toy", "test", posts(12), posts_per_unit=2, shard_bytes=1)
    (tmp_path / "toy/test/shard-00003.parquet").unlink()
    with pytest.raises(ConfigurationError, match=r"shard-00003\.parquet is missing \(1 of 6 shards"):
        read_manifest(data, "toy", "test")


def test_a_broken_manifest_is_named(tmp_path):
    data = open_storage(tmp_path)
    write_split(data, "toy", "test", posts(1))
    path = tmp_path / "toy/test/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "posts": "many"}))
    with pytest.raises(ConfigurationError, match=r"toy/test/manifest\.json is no manifest"):
        read_manifest(data, "toy", "test")


def test_a_limit_takes_the_first_posts_and_cuts_the_last_unit(tmp_path):
    data = open_storage(tmp_path)
    manifest = write_split(data, "toy", "test", posts(10), posts_per_unit=4)
    units = list(plan_units(manifest, limit=6))
    assert [unit.posts for unit in units] == [4, 2]
    assert [post.sample_id for unit in units for post in read_unit(data, unit)] == [f"p{n}" for n in range(6)]


def test_targets_are_read_without_pictures(tmp_path):
    data = open_storage(tmp_path)
    manifest = write_split(data, "toy", "test", posts(5), posts_per_unit=2)
    assert list(read_targets(data, manifest)) == [{"humor": ["humorous"], "tagging": ["a", "b"]}] * 5


def test_a_shard_that_vanishes_after_planning_is_an_error_with_its_name(tmp_path):
    data = open_storage(tmp_path)
    (unit,) = plan_units(write_split(data, "toy", "test", posts(2)))
    shutil.rmtree(tmp_path / "toy")
    with pytest.raises(OSError, match=r"shard-00000\.parquet"):
        read_unit(data, unit)
