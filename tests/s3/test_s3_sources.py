"""Every source on S3 becomes the shards that it becomes on a disk, there and on S3, and the same again."""

import runpy
from pathlib import Path

import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.data.sources import load_mapping, prepare_source, published_mappings

SOURCES = Path(__file__).parents[1] / "data" / "sources"
LAYOUTS = runpy.run_path(str(SOURCES / "layouts.py"))
Source = runpy.run_path(str(SOURCES / "conftest.py"))["Source"]


def files(storage):
    return {name: storage.read(name) for name in storage.list_files("")}


def convert(mapping, source, output):
    prepare_source(mapping, source, output)
    return files(output)


@pytest.mark.parametrize("name", [*published_mappings(), *LAYOUTS["OWN"]])
def test_a_source_on_s3_becomes_the_shards_of_a_local_one_and_twice_the_same(name, s3, make_picture, tmp_path):
    folder = tmp_path / "source"
    written = LAYOUTS["write_layout"](name, Source(folder, tmp_path), make_picture)
    if written != name:
        (tmp_path / "mapping.yaml").write_text(written)
    mapping = load_mapping(name if written == name else tmp_path / "mapping.yaml")
    here, there = open_storage(folder), open_storage(f"s3://posts/sources/{name}")
    for path, content in files(here).items():
        there.write(path, content)
    local = convert(mapping, here, open_storage(tmp_path / "local"))
    assert f"{mapping.dataset}/report.json" in local
    assert any(path.endswith("shard-00000.parquet") for path in local)
    assert convert(mapping, there, open_storage(tmp_path / "from-s3")) == local
    prepared = open_storage(f"s3://posts/prepared/{name}")
    assert convert(mapping, there, prepared) == local
    assert convert(mapping, there, prepared) == local


def test_the_command_reads_from_s3_and_writes_to_s3(s3, mmsoc, make_picture, tmp_path, capsys):
    there = open_storage("s3://posts/one-meme")
    there.write("labels.csv", b"id,file,caption,funny\nm0,0.png,caption,1\n")
    there.write("pictures/0.png", make_picture(0))
    (tmp_path / "mapping.yaml").write_text(LAYOUTS["GENERIC"].replace("FORM", "csv"))
    command = ("data", "prepare", tmp_path / "mapping.yaml", "--source", there.uri, "--output", "s3://posts/out")
    assert mmsoc(*command) == 0
    assert "shards and report.json  s3://posts/out/my_memes" in capsys.readouterr().out
