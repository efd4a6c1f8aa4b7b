"""Fetching pictures from addresses that strangers wrote: public ones only, bounded in size, time and redirects.

A name is resolved once, every address that it has must be public, and the connection goes to one of those, so that a
name which changes its mind between check and connection gains nothing. A redirect is checked as a new address.
Proxies of the environment are not used: behind one, the proxy would choose the address.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import SplitResult, quote, urljoin, urlsplit

MAX_REDIRECTS = 5
FETCH_SECONDS = 30.0
"""For all of a fetch, redirects included, but for the system's own resolving of names."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {"User-Agent": "mmsoc-ray", "Accept": "image/*", "Accept-Encoding": "identity"}


class FetchError(Exception):
    """The picture was not fetched; the message says why."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and so does the IPv4 address that it may carry."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        carried = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            carried = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(str(carried))
    return ip.is_global and not ip.is_multicast


def fetch(url: str, *, max_bytes: int) -> bytes:
    """Fetch a file by HTTP or HTTPS.

    Args:
        url: The address.
        max_bytes: A larger file is not read to its end.

    Raises:
        FetchError: For an address that is not public, a status other than 200, too many bytes or redirects, or delay.
    """
    deadline = time.monotonic() + FETCH_SECONDS
    try:
        for _ in range(MAX_REDIRECTS + 1):
            found = _get(url, deadline, max_bytes)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(type(error).__name__) from error
    raise FetchError(f"more than {MAX_REDIRECTS} redirects")


def _get(url: str, deadline: float, max_bytes: int) -> bytes | str:
    """Return the content, or the address that the server redirects to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise FetchError("no http:// or https:// address of a host")
    with _connection(parts, deadline) as connection:
        target = quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe="/%?:@!$&'()*+,;=~-._[]")
        connection.request("GET", target, headers=_HEADERS)
        response = connection.getresponse()
        location = response.getheader("Location")
        if response.status in _REDIRECTS and location:
            return location
        if response.status != 200:
            raise FetchError(f"status {response.status}")
        content = response.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise FetchError(f"more than {max_bytes:,} bytes")
        if time.monotonic() >= deadline or response.length:
            raise FetchError("cut short")
        return content


@contextlib.contextmanager
def _connection(parts: SplitResult, deadline: float) -> Iterator[http.client.HTTPConnection]:
    """Connect to a public address of the host; whatever the peer does, the socket is shut at the deadline."""
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not is_public(address):
            raise FetchError(f"{host} is at {address}, which is not a public address")
    left = deadline - time.monotonic()
    if left <= 0:
        raise FetchError("took too long")
    raw = socket.create_connection((found[0], port), timeout=left)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        raw = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
    timer = threading.Timer(deadline - time.monotonic(), _shut, [raw])
    timer.daemon = True
    timer.start()
    connection = http.client.HTTPConnection(host, port)
    connection.sock = raw
    try:
        if isinstance(raw, ssl.SSLSocket):
            raw.do_handshake()
        yield connection
    finally:
        timer.cancel()
        connection.close()


def _shut(raw: socket.socket) -> None:
    with contextlib.suppress(OSError):
        raw.shutdown(socket.SHUT_RDWR)
