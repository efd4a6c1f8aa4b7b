import io
import tarfile

import pytest
from layouts import packed, tar_sample

from mmsoc_ray.data.sources import Reason, tars
from mmsoc_ray.errors import ConfigurationError

MAPPING = """\
dataset: packed
files: {test: "posts-*.tar"}
sample_id: __key__
image: png
text: json.caption
targets:
  humor: {column: cls, labels: {1: humorous, 0: not_humorous}}
"""


def test_a_webdataset_becomes_shards_the_same_bytes_twice(source, small):
    source.write("posts-0.tar", packed([*tar_sample(small, 1), *tar_sample(small, 2)]))
    source.write("posts-1.tar", packed(tar_sample(small, 3, cls=b"0")))
    assert source.prepare(MAPPING).report.kept == {"test": 3}
    posts = source.posts("packed")
    assert [post.sample_id for post in posts] == ["a/1", "a/2", "a/3"]
    assert posts[2].text == "caption 3"
    assert posts[2].image == small(3)
    assert posts[2].targets == {"humor": ("not_humorous",)}
    before = source.output_bytes()
    source.prepare(MAPPING)
    assert source.output_bytes() == before


def test_a_sample_with_a_broken_or_too_large_member_is_dropped(source, small, monkeypatch):
    monkeypatch.setattr(tars, "MEMBER_BYTES", 2000)
    members = [
        *tar_sample(small, 1),
        *tar_sample(small, 2, caption="x" * 3000),
        ("a/3.json", b"{"),
        *tar_sample(small, 4),
    ]
    source.write("posts-0.tar", packed(members))
    report = source.prepare(MAPPING).report
    assert report.dropped == {Reason.malformed_row: 2}
    assert [row.detail[:22] for row in report.offenders[Reason.malformed_row]] == [
        "json: more than 2,000 ",
        "json: no JSON (Expecti",
    ]
    assert [post.sample_id for post in source.posts("packed")] == ["a/1", "a/4"]


def test_links_and_devices_are_no_members(source, small):
    file = io.BytesIO(packed(tar_sample(small, 1)))
    with tarfile.open(fileobj=file, mode="a") as tar:
        entry = tarfile.TarInfo("a/2.png")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(entry)
    source.write("posts-0.tar", file.getvalue())
    assert source.prepare(MAPPING).report.read == 1


def test_what_is_no_tar_is_named(source):
    source.write("posts-0.tar", b"no tar at all" * 100)
    with pytest.raises(ConfigurationError, match=r"posts-0\.tar: cannot be read"):
        source.prepare(MAPPING)
