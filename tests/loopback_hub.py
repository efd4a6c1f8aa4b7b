"""The hub's protocol as far as it is used here, spoken by a server on loopback; the real hub was not tried."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from dataclasses import dataclass, field
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".parquet")
"""What a hub keeps in LFS, where the sha256 is stated; other files are named as git names them."""

_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+?)(?:/(revision|tree)/(.+))?")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)")


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Repository:
    """A model or data set: its commits, the branches and tags that lead to them, and its card."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)


class LoopbackHub:
    """A hub on loopback.

    Attributes:
        asked: Every request, as ``GET /path``.
        tokens: Every ``Authorization`` header that came.
        damaged: Files of which other bytes come than are stated.
        withheld: Files that are stated, and do not come.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.damaged: set[str] = set()
        self.withheld: set[str] = set()
        hub = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def publish(
        self, kind: str, name: str, files: dict[str, bytes], *, commit: str = COMMIT, ref: str = "main", **card: Any
    ) -> None:
        """Put a commit of ``models`` or ``datasets`` there, and let a branch or tag lead to it."""
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.commits[commit] = files
        repository.refs[ref] = commit
        repository.card = card

    @property
    def transferred(self) -> list[str]:
        """The files that were sent."""
        found = (_FILE.fullmatch(asked.removeprefix("GET ")) for asked in self.asked)
        return [match[4] for match in found if match]

    def answer(self, request: _Handler) -> None:
        path = request.path.partition("?")[0]
        self.asked.append(f"{request.command} {path}")
        self.tokens += [request.headers["Authorization"]] if "Authorization" in request.headers else []
        if match := _FILE.fullmatch(path):
            self._send_file(request, "datasets" if match[1] else "models", *match.groups()[1:])
        elif match := _API.fullmatch(path):
            self._send_facts(request, *match.groups())
        else:
            request.send(404, b"")

    def _send_facts(self, request: _Handler, kind: str, name: str, what: str | None, revision: str | None) -> None:
        repository = self.repositories.get((kind, name))
        if repository is None:
            return request.send(404, b"", {"X-Error-Code": "RepoNotFound"})
        revision = (revision or "main").replace("%2F", "/")
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return request.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        files = repository.commits[commit].items()
        if what == "tree":
            tree = [{"type": "file", "path": path, "size": len(data), "oid": git_sha1(data)} for path, data in files]
            return request.send(200, json.dumps(tree).encode())
        siblings = [self._stated(path, data) for path, data in files]
        facts = {"id": name, "sha": commit, "siblings": siblings, "cardData": repository.card}
        return request.send(200, json.dumps(facts).encode())

    def _stated(self, path: str, data: bytes) -> dict[str, Any]:
        stated: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_sha1(data)}
        if path.endswith(LARGE):
            stated["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return stated

    def _send_file(self, request: _Handler, kind: str, name: str, commit: str, path: str) -> None:
        data = self.repositories[kind, name].commits[commit].get(path)
        if data is None or path in self.withheld:
            return request.send(404, b"", {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(data).hexdigest() if path.endswith(LARGE) else git_sha1(data)
        sent = bytes(byte ^ 1 for byte in data) if path in self.damaged else data
        return request.send(200, sent, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})


class _Handler(http.server.BaseHTTPRequestHandler):
    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass
