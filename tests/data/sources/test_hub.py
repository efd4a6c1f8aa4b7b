"""Data sets of a hub on loopback, in the layout of MM-Soc's GossipCop; the real hub was not tried."""

import pytest
from loopback_hub import COMMIT

from mmsoc_ray.data import open_storage, read_manifest
from mmsoc_ray.data.sources import load_mapping
from mmsoc_ray.data.sources.hub import fetch_from_hub
from mmsoc_ray.errors import ConfigurationError


@pytest.fixture
def gossipcop(hub, source, small):
    rows = [
        {"image": {"bytes": small(n), "path": None}, "text": f"news {n}", "label": n % 2, "split": "test"}
        for n in range(4)
    ]
    table = source.table("made.parquet", rows).read_bytes()
    files = {"data/test-00000.parquet": table, "README.md": b"card", "other.bin": b"x"}
    hub.publish("datasets", "Ahren09/MMSoc_GossipCop", files, ref="v1")
    return hub


@pytest.mark.parametrize("revision", [COMMIT, "v1"])
def test_a_data_set_of_the_hub_becomes_shards_that_name_the_commit(revision, gossipcop, mmsoc, tmp_path):
    address = f"hf://datasets/Ahren09/MMSoc_GossipCop@{revision}"
    assert mmsoc("data", "prepare", "gossipcop", "--source", address, "--output", tmp_path / "out") == 0
    manifest = read_manifest(open_storage(tmp_path / "out"), "gossipcop", "test")
    assert manifest.posts == 4
    assert manifest.source.endswith(f"fetched as hf://datasets/Ahren09/MMSoc_GossipCop@{COMMIT}")
    assert gossipcop.transferred == ["data/test-00000.parquet"]


def test_an_address_without_a_revision_is_refused():
    with pytest.raises(ConfigurationError, match="write hf://datasets/OWNER/NAME@REVISION"):
        fetch_from_hub("hf://datasets/Ahren09/MMSoc_GossipCop", load_mapping("gossipcop"))


def test_a_revision_that_the_hub_does_not_have_is_an_error_that_says_so(gossipcop):
    with pytest.raises(ConfigurationError, match="MMSoc_GossipCop@v2: the hub did not give the files"):
        fetch_from_hub("hf://datasets/Ahren09/MMSoc_GossipCop@v2", load_mapping("gossipcop"))
