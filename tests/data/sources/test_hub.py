"""The hub's protocol as far as it is used here, spoken by a server on loopback; the real hub was not tried."""

import hashlib
import http.server
import json
import threading
from typing import ClassVar

import pytest

from mmsoc_ray.data import open_storage, read_manifest
from mmsoc_ray.data.sources import load_mapping
from mmsoc_ray.data.sources.hub import fetch_from_hub
from mmsoc_ray.errors import ConfigurationError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = "/api/datasets/Ahren09/MMSoc_GossipCop"
FILES = f"/datasets/Ahren09/MMSoc_GossipCop/resolve/{COMMIT}/"


class Hub(http.server.BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if path == f"{API}/revision/v1":
            self.answer(200, json.dumps({"id": "Ahren09/MMSoc_GossipCop", "sha": COMMIT}).encode(), "application/json")
        elif path == f"{API}/tree/{COMMIT}":
            tree = [{"type": "file", "path": n, "size": len(c), "oid": n} for n, c in self.files.items()]
            self.answer(200, json.dumps(tree).encode(), "application/json")
        elif path.startswith(FILES) and path.removeprefix(FILES) in self.files:
            self.answer(200, self.files[path.removeprefix(FILES)], "application/octet-stream")
        else:
            self.answer(404, b"", "text/plain", {"X-Error-Code": "RevisionNotFound"})

    def answer(self, status, content, kind, headers=None):
        self.send_response(status)
        etag = hashlib.sha256(content).hexdigest()
        all_headers = {"Content-Type": kind, "X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', **(headers or {})}
        for name, value in {**all_headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path, source, small):
    """A hub with one data set, in the layout of MM-Soc's GossipCop."""
    rows = [
        {"image": {"bytes": small(n), "path": None}, "text": f"news {n}", "label": n % 2, "split": "test"}
        for n in range(4)
    ]
    table = source.table("made.parquet", rows).read_bytes()
    monkeypatch.setattr(Hub, "files", {"data/test-00000.parquet": table, "README.md": b"card", "other.bin": b"x"})
    monkeypatch.setattr(Hub, "asked", [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    # The client reads its environment once, at import.
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("revision", [COMMIT, "v1"])
def test_a_data_set_of_the_hub_becomes_shards_that_name_the_commit(revision, hub, mmsoc, tmp_path):
    address = f"hf://datasets/Ahren09/MMSoc_GossipCop@{revision}"
    assert mmsoc("data", "prepare", "gossipcop", "--source", address, "--output", tmp_path / "out") == 0
    manifest = read_manifest(open_storage(tmp_path / "out"), "gossipcop", "test")
    assert manifest.posts == 4
    assert manifest.source.endswith(f"fetched as hf://datasets/Ahren09/MMSoc_GossipCop@{COMMIT}")
    assert not any("README.md" in asked or "other.bin" in asked for asked in hub.asked)


def test_an_address_without_a_revision_is_refused():
    with pytest.raises(ConfigurationError, match="write hf://datasets/OWNER/NAME@REVISION"):
        fetch_from_hub("hf://datasets/Ahren09/MMSoc_GossipCop", load_mapping("gossipcop"))


def test_a_revision_that_the_hub_does_not_have_is_an_error_that_says_so(hub):
    with pytest.raises(ConfigurationError, match="MMSoc_GossipCop@v2: the hub did not give the files"):
        fetch_from_hub("hf://datasets/Ahren09/MMSoc_GossipCop@v2", load_mapping("gossipcop"))
