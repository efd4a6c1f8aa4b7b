"""A source on S3 becomes shards on S3, the same bytes as on a disk."""

import pytest

from mmsoc_ray.data import open_storage

MAPPING = """\
dataset: my_memes
files: {test: labels-*.csv}
sample_id: id
image: {column: file, folder: pictures}
text: caption
targets:
  humor: {column: funny, labels: {1: humorous, 0: not_humorous}}
"""


@pytest.fixture
def files(make_picture):
    """Pictures, one broken and one missing, and two tables."""
    pictures = {f"pictures/{n}.png": make_picture(n) for n in range(5)}
    lines = [f"m{n},{n}.png,caption {n},{n % 2}" for n in range(6)]
    tables = {f"labels-{n}.csv": "\n".join(["id,file,caption,funny", *lines[n::2]]) + "\n" for n in range(2)}
    content = {name: text.encode() for name, text in tables.items()}
    return {**pictures, **content, "pictures/3.png": b"no picture"}


def test_a_source_on_s3_becomes_the_shards_of_a_local_one_and_twice_the_same(files, s3, mmsoc, tmp_path):
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    there, here = open_storage("s3://posts/source"), open_storage(tmp_path / "source")
    for name, content in files.items():
        there.write(name, content)
        here.write(name, content)
    found = []
    for source, output in ((here.uri, tmp_path / "out"), *(2 * [(there.uri, "s3://posts/prepared")])):
        assert mmsoc("data", "prepare", tmp_path / "mapping.yaml", "--source", source, "--output", output) == 0
        written = open_storage(output)
        found.append({name: written.read(name) for name in written.list_files("")})
    assert set(found[0]) == {"my_memes/report.json", "my_memes/test/manifest.json", "my_memes/test/shard-00000.parquet"}
    assert found[0] == found[1] == found[2]
