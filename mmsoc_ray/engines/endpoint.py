"""The endpoint engine: a model that some server answers for, over the OpenAI chat protocol."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from PIL import Image

from mmsoc_ray.engines.protocol import Answer, Picture, PreparedPost, Request
from mmsoc_ray.engines.request_seed import request_seed
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.entry import Decoding, Endpoint, ModelEntry

ATTEMPTS = 6
LONGEST_WAIT_S = 60.0
TIMEOUT_S = 300.0
LARGEST_REPLY = 16 * 2**20
LARGEST_SEED = 2**31
"""Seeds stay below: OpenAI's field has 64 bits, that of some servers 32."""
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""


class EndpointError(RuntimeError):
    """A request stays without an answer."""


class EndpointEngine:
    """Asks an OpenAI-compatible server, some requests at a time, at temperature 0 or with a seed for each request.

    Transient failures (``TRANSIENT``, no connection, time-out) are tried again after 1, 2, 4, ... seconds or as long as
    the server's ``Retry-After`` says; what still fails becomes the ``error`` of its own answer. Redirects are refused,
    so that the key goes to the named address only.

    Attributes:
        name: ``endpoint``.
        version: The protocol; which software answers is not known.
    """

    name = "endpoint"
    version = "chat/completions"

    def __init__(self, entry: ModelEntry) -> None:
        """Prepare to ask.

        Raises:
            ConfigurationError: The entry names no address, or its key is not in the environment.
        """
        self._endpoint = check_endpoint(entry)
        self._model = self._endpoint.served_model or entry.name
        self._decoding = entry.decoding
        self._headers = {"Content-Type": "application/json"}
        if self._endpoint.api_key_env:
            self._headers["Authorization"] = f"Bearer {os.environ[self._endpoint.api_key_env]}"
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._pace = _Pace(self._endpoint.requests_per_minute)
        self._examples: dict[int, tuple[Picture, str]] = {}

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        """Answer every request of every post exactly once; see ``Engine.answer``."""
        pictures = [None if post.image is None else _data_url(post.image) for post in posts]
        for request in (request for post in posts for request in post.requests):
            for picture in request.example_pictures:
                if id(picture) not in self._examples:  # kept beside its address, so that no other gets the same id
                    self._examples[id(picture)] = picture, _data_url(picture)
        places = [(p, r) for p, post in enumerate(posts) for r in range(len(post.requests))]
        with ThreadPoolExecutor(self._endpoint.concurrency) as pool:
            yield from pool.map(lambda place: self._answer_one(posts, pictures, *place), places)

    def _answer_one(
        self, posts: Sequence[PreparedPost], pictures: Sequence[str | None], post_index: int, request_index: int
    ) -> Answer:
        request, started = posts[post_index].requests[request_index], time.perf_counter()
        try:
            examples = [self._examples[id(picture)][1] for picture in request.example_pictures]
            sampling = _sampling(self._decoding, request, posts[post_index].image_sha256)
            reply = self._ask(_body(self._model, request, [*examples, pictures[post_index]], sampling))
            choice, usage = reply["choices"][0], reply.get("usage") or {}
            output = choice["message"]["content"] or ""
            if not isinstance(output, str):
                raise TypeError("the content of the message is no text")
            return Answer(
                post_index,
                request_index,
                output=output,
                finish_reason="length" if choice.get("finish_reason") == "length" else "stop",
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                output_tokens=int(usage.get("completion_tokens") or 0),
                latency_s=time.perf_counter() - started,
            )
        except EndpointError as error:
            message = str(error)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            message = f"the server's reply is not of the chat protocol ({type(error).__name__}: {error})"
        return Answer(post_index, request_index, output=None, error=message[:500], finish_reason="error")

    def _ask(self, body: bytes) -> Any:
        problem = ""
        for attempt in range(ATTEMPTS):
            self._pace.wait()
            request = urllib.request.Request(  # noqa: S310  (check_endpoint lets http and https through only)
                f"{self._endpoint.url.rstrip('/')}/chat/completions", body, self._headers
            )
            wait_s = 2.0**attempt
            try:
                with self._opener.open(request, timeout=TIMEOUT_S) as response:
                    reply = response.read(LARGEST_REPLY)
                    if response.length:  # a read with a bound says nothing of what is missing
                        raise http.client.IncompleteRead(reply, response.length)
                    return json.loads(reply)
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code}: {_start(error)}"
                if error.code not in TRANSIENT:
                    raise EndpointError(problem) from error
                wait_s = _seconds(error.headers.get("Retry-After"), wait_s)
            except (OSError, http.client.HTTPException) as error:  # no connection, a broken one, or a time-out
                problem = f"{type(error).__name__}: {error}"
            if attempt + 1 < ATTEMPTS:
                time.sleep(min(wait_s, LONGEST_WAIT_S))
        raise EndpointError(f"no answer after {ATTEMPTS} attempts; the last: {problem}")


def check_endpoint(entry: ModelEntry) -> Endpoint:
    """Return an entry's endpoint.

    Raises:
        ConfigurationError: There is none, its key is not in the environment, or the decoding is none that the protocol
            has.
    """
    where = f"models.{entry.name}"
    if entry.endpoint is None:
        raise ConfigurationError(
            f"{where}: no engine loads this model in process. Serve it behind an OpenAI-compatible address and write "
            f"endpoint: {{url: http://HOST:PORT/v1}} in the grid, or leave it out with --models."
        )
    key = entry.endpoint.api_key_env
    if key and not os.environ.get(key):
        raise ConfigurationError(f"{where}.endpoint.api_key_env: the environment has no {key}. Set it on every node.")
    if not entry.decoding.takes_logits_as_they_are or entry.decoding.top_k:
        raise ConfigurationError(
            f"{where}.decoding: an endpoint answers greedily or samples; the protocol has no "
            f"{entry.decoding.content()}. Set only max_new_tokens, temperature, top_p and seed."
        )
    return entry.endpoint


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Refuse: the status then counts as an error."""


class _Pace:
    """Spaces the starts of requests evenly, over all threads of one engine."""

    def __init__(self, per_minute: float | None) -> None:
        self._gap_s = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + self._gap_s
        time.sleep(max(0.0, start - time.monotonic()))


def _sampling(decoding: Decoding, request: Request, image_sha256: str | None) -> dict[str, Any]:
    """Return the fields of a body by which tokens are chosen. ``top_p`` stands always: a server's own may not be 1."""
    if not decoding.samples:
        return {"temperature": 0}
    seed = request_seed(decoding.seed, request, image_sha256) % LARGEST_SEED
    return {"temperature": decoding.temperature, "top_p": decoding.top_p, "seed": seed}


def _body(model: str, request: Request, pictures: Sequence[str | None], sampling: Mapping[str, Any]) -> bytes:
    if request.with_image and pictures[-1] is None:
        raise EndpointError("the request shows a picture, but the post has none")
    content: list[dict[str, Any]] = []
    for number, text in enumerate(request.pieces):
        content += [{"type": "image_url", "image_url": {"url": pictures[number - 1]}}] if number else []
        content += [{"type": "text", "text": text}] if text else []
    body = {"model": model, "messages": [{"role": "user", "content": content}], **sampling}
    return json.dumps({**body, "max_tokens": request.max_new_tokens}).encode()


def _data_url(picture: Picture) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _start(body: IO[bytes]) -> str:
    try:
        return " ".join(body.read(300).decode(errors="replace").split())
    except (OSError, http.client.HTTPException):
        return ""


def _seconds(header: str | None, otherwise: float) -> float:
    try:
        return max(0.0, float(header)) if header else otherwise
    except ValueError:  # a date
        return otherwise
