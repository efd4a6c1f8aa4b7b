"""A proxy that does to an S3 client what networks and servers do: for tests, on loopback, before a real server.

Bytes pass unchanged (a signature covers the Host header), connections are kept alive, and what is done to a request
follows from a schedule::

    with FaultProxy(server.endpoint, SeededMix(seed=7, rate=0.2)) as proxy:
        ...  # a client of proxy.endpoint
    print(proxy.injected)
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self
from urllib.parse import urlsplit

HEAD_BYTES = 2**16
PIECES = 10
"""A trickled body comes in so many pieces."""


class Fault(StrEnum):
    """What can be done to a request."""

    slow_down = "503 SlowDown"
    internal_error = "500 InternalError"
    delay = "late answer"
    trickle = "body in drops"
    cut_response = "connection cut in the body of the answer"
    cut_request = "connection cut while the request was sent"
    lost_answer = "connection cut after the request was carried out"
    vanish = "server gone for a while"


APPLICABLE = {
    "GET": (Fault.slow_down, Fault.internal_error, Fault.delay, Fault.trickle, Fault.cut_response, Fault.lost_answer),
    "PUT": (Fault.slow_down, Fault.internal_error, Fault.delay, Fault.cut_request, Fault.lost_answer),
    "HEAD": (Fault.slow_down, Fault.internal_error, Fault.delay, Fault.lost_answer),
    "DELETE": (Fault.slow_down, Fault.internal_error, Fault.delay, Fault.lost_answer),
}


@dataclass(frozen=True)
class Request:
    """A request, as a schedule sees it.

    Attributes:
        method: ``GET``, ``PUT``, ``HEAD`` and so on.
        target: Path and query.
        tries: How often the same method and target came before.
    """

    method: str
    target: str
    tries: int


Schedule = Callable[[Request], Fault | None]


def untouched(request: Request) -> Fault | None:
    """Let all requests pass."""
    return None


@dataclass
class First:
    """Do one thing after the other to the first requests of a method (of all methods where it is None).

    Attributes:
        faults: What is done, in order; then requests pass.
        method: Requests of other methods pass.
    """

    faults: Iterable[Fault]
    method: str | None = None

    def __post_init__(self) -> None:
        self._left = list(self.faults)

    def __call__(self, request: Request) -> Fault | None:
        if not self._left or self.method not in (None, request.method):
            return None
        return self._left.pop(0)


@dataclass
class SeededMix:
    """Draw what is done to a request from seed, method, target and number of tries, whatever else runs beside it.

    Attributes:
        seed: The seed.
        rate: Share of requests to which something is done.
        vanish_at: Numbers of the ``PUT`` requests at which the server vanishes.
    """

    seed: int
    rate: float
    vanish_at: frozenset[int] = frozenset()
    _puts: int = field(default=0, init=False)

    def __call__(self, request: Request) -> Fault | None:
        self._puts += request.method == "PUT"
        if request.method == "PUT" and self._puts in self.vanish_at:
            return Fault.vanish
        draw = random.Random(f"{self.seed} {request.method} {request.target} {request.tries}")
        return draw.choice(APPLICABLE[request.method]) if draw.random() < self.rate else None


@dataclass
class FaultProxy:
    """The proxy; a context manager, in its own thread.

    Attributes:
        upstream: Address of the server, ``http://HOST:PORT``.
        schedule: Says what is done to each request; may be replaced while the proxy runs.
        delay_s: Seconds by which an answer is late, and that a trickled body takes.
        vanish_s: Seconds that the server is gone when the schedule says so.
        injected: How often each thing was done.
        requests: How many requests of each method came.
    """

    upstream: str
    schedule: Schedule = untouched
    delay_s: float = 0.3
    vanish_s: float = 5.0
    injected: Counter[Fault] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self._tries: Counter[tuple[str, str]] = Counter()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._port = 0
        self._call(self._listen())
        return self

    def __exit__(self, *error: object) -> None:
        self._call(self._gone())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def endpoint(self) -> str:
        """Address of the proxy; stays the same when the server vanishes and comes back."""
        return f"http://127.0.0.1:{self._port}"

    def vanish(self, seconds: float) -> None:
        """Cut all connections and refuse new ones for some seconds; returns at once."""
        self._call(self._vanish(seconds))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, limit=HEAD_BYTES)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _gone(self) -> None:
        self._server.close()
        others = {task: writer for task, writer in self._connections.items() if task is not asyncio.current_task()}
        for task, writer in others.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _vanish(self, seconds: float) -> None:
        if not self._server.is_serving():
            return
        self.injected[Fault.vanish] += 1
        await self._gone()
        self._loop.call_later(seconds, lambda: self._loop.create_task(self._listen()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        upstream: asyncio.StreamWriter | None = None
        try:
            parts = urlsplit(self.upstream)
            answers, upstream = await asyncio.open_connection(parts.hostname, parts.port, limit=HEAD_BYTES)
            while await self._exchange(reader, writer, answers, upstream):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            del self._connections[task]
            for one in (writer, upstream):
                if one is not None:
                    one.close()

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> bool:
        """Pass one request and its answer; return whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        self.requests[method] += 1
        request = Request(method, target, self._tries[method, target])
        self._tries[method, target] += 1
        fault = self.schedule(request)
        if fault is Fault.vanish:
            await self._vanish(self.vanish_s)
            return False
        if fault is not None:
            self.injected[fault] += 1
        headers = _headers(head)
        waits = headers.get("expect", "").lower() == "100-continue"
        if fault in (Fault.slow_down, Fault.internal_error):
            if not waits:
                await reader.readexactly(int(headers.get("content-length", 0)))
            writer.write(_error(fault, with_body=method != "HEAD"))
            await writer.drain()
            return False
        if fault is Fault.delay:
            await asyncio.sleep(self.delay_s)
        upstream.write(head)
        if waits:
            answer = await answers.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if not answer.split(b" ", 2)[1].startswith(b"100"):
                writer.write(await _body(answers, answer, method))
                await writer.drain()
                return False
        length = int(headers.get("content-length", 0))
        if fault is Fault.cut_request:
            upstream.write(await reader.readexactly(length // 2))
            await upstream.drain()
            return False
        upstream.write(await reader.readexactly(length))
        answer = await answers.readuntil(b"\r\n\r\n")
        body = await _body(answers, answer, method)
        if fault is Fault.lost_answer:
            return False
        writer.write(answer)
        if fault is Fault.trickle:
            size = max(1, -(-len(body) // PIECES))
            for start in range(0, len(body), size):
                writer.write(body[start : start + size])
                await writer.drain()
                await asyncio.sleep(self.delay_s / PIECES)
        else:
            writer.write(body[: len(body) // 2] if fault is Fault.cut_response else body)
        await writer.drain()
        return fault is not Fault.cut_response


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}


async def _body(reader: asyncio.StreamReader, head: bytes, method: str) -> bytes:
    """Read the body of an answer as it is framed."""
    headers = _headers(head)
    if method == "HEAD" or head.split(b" ", 2)[1] in (b"204", b"304"):
        return b""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        body += line + await reader.readexactly(int(line.split(b";")[0], 16) + 2)
        if int(line.split(b";")[0], 16) == 0:
            return body


def _error(fault: Fault, *, with_body: bool) -> bytes:
    status, code = fault.value.split(" ")
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>Injected.</Message></Error>'
    reason = {"503": "Service Unavailable", "500": "Internal Server Error"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body if with_body else ''}".encode()
