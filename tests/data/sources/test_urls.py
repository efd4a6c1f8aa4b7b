import http.server
import threading
import time

import pytest

from mmsoc_ray.data.sources import Reason, urls
from mmsoc_ray.data.sources.urls import FetchError, fetch, is_public


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a picture, redirects, and what a hostile server would."""

    picture = b""

    def do_GET(self):
        if self.path.startswith("/hop/"):
            hops = int(self.path.rpartition("/")[2])
            self.answer(302, location=f"/hop/{hops - 1}" if hops else "/picture.png")
        elif self.path == "/private":
            self.answer(302, location="http://169.254.169.254/latest/meta-data")
        elif self.path == "/file":
            self.answer(302, location="file:///etc/hostname")
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.1)
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(self.picture)
        elif self.path == "/a%20b.png?x=1" or self.path == "/picture.png":
            self.answer(200, self.picture)
        else:
            self.answer(404, b"nothing here")

    def answer(self, status, content=b"", location=None):
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(small, monkeypatch):
    """A server on loopback, which counts as public here, and nothing else does that is not."""
    monkeypatch.setattr(Handler, "picture", small(1))
    monkeypatch.setattr(urls, "is_public", lambda address: address == "127.0.0.1" or is_public(address))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "::1", "::", "fe80::1", "fe80::1%lo", "fc00::1", "ff02::1", "::ffff:127.0.0.1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "192.0.2.1"),
    ],
)
def test_an_address_that_is_not_of_the_public_internet_is_refused(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "169.254.169.254"])
def test_no_connection_is_made_to_a_private_address_however_it_is_written(host, monkeypatch):
    monkeypatch.setattr(urls.socket, "create_connection", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises(FetchError):
        fetch(f"http://{host}:80/x", max_bytes=10)


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    found = [(2, 1, 6, "", (address, 80)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(urls.socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(urls.socket, "create_connection", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises(FetchError, match=r"10\.0\.0\.1, which is not a public address"):
        fetch("http://two-faced.example/x", max_bytes=10)


def test_a_picture_is_fetched_over_redirects(server, small):
    assert fetch(f"{server}/picture.png", max_bytes=10_000) == small(1)
    assert fetch(f"{server}/hop/3", max_bytes=10_000) == small(1)
    assert fetch(f"{server}/a b.png?x=1", max_bytes=10_000) == small(1)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/hop/9", "more than 5 redirects"),
        ("/private", "169.254.169.254, which is not a public address"),
        ("/file", "no http:// or https:// address"),
        ("/absent", "status 404"),
        ("/short", "IncompleteRead|cut short"),
    ],
)
def test_what_is_not_fetched_says_why(path, message, server):
    with pytest.raises(FetchError, match=message):
        fetch(f"{server}{path}", max_bytes=10_000)


def test_a_file_of_too_many_bytes_is_refused(server, small):
    with pytest.raises(FetchError, match="more than 20 bytes"):
        fetch(f"{server}/picture.png", max_bytes=20)


def test_a_server_that_drips_is_left_at_the_deadline(server, monkeypatch):
    monkeypatch.setattr(urls, "FETCH_SECONDS", 0.5)
    with pytest.raises(FetchError):
        fetch(f"{server}/slow", max_bytes=10_000)


@pytest.mark.parametrize(
    "url", ["ftp://example.com/x", "http://user:secret@example.com/x", "//example.com", "x.png", "http://[x/"]
)
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(FetchError):
        fetch(url, max_bytes=10)


def test_posts_with_addresses_become_shards_and_those_without_a_picture_are_dropped(source, server, small):
    rows = [{"id": n, "where": f"{server}/{path}", "words": "w"} for n, path in enumerate(("picture.png", "absent"))]
    source.table("posts.csv", rows)
    report = source.prepare(
        "dataset: linked\nfiles: {test: posts.csv}\nsample_id: id\nimage: {column: where, url: true}\n"
        "targets: {ocr: words}\n"
    ).report
    assert report.dropped == {Reason.missing_picture: 1}
    assert report.offenders[Reason.missing_picture][0].detail.endswith("/absent: status 404")
    assert source.posts("linked")[0].image == small(1)
