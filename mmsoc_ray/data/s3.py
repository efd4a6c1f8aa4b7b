"""Objects on Amazon S3, or on any server that speaks its protocol.

Credentials come from the environment, the shared configuration files or the instance's role, as boto3 finds them, never
from arguments. ``AWS_ENDPOINT_URL_S3`` (or ``AWS_ENDPOINT_URL``) names another server than Amazon's.

Requests that fail are repeated as ``patience`` says; the library's own repetitions are off: they count tries instead of
seconds, and end where the body of an answer begins. Ranged reads go the same way instead of through Arrow's file
system, which would bring a second client with a policy, credentials and words of its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa

from mmsoc_ray.data.ranges import open_ranges
from mmsoc_ray.data.stored_file import StoredFile
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.full_disk import naming_full_disk
from mmsoc_ray.patience import OutOfPatienceError, patiently

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_Answer = TypeVar("_Answer")

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
PIECE_BYTES = 16 * 2**20
PIECES_AT_ONCE = 8
"""A download fetches so many pieces side by side; the library's client keeps ten connections."""

MARKER = "/"
"""So the key of an empty object ends that stands for a folder: Arrow's client and Amazon's console leave such."""

WRITER = "writer"
"""Metadata of an object that was written once: who wrote it."""

_given: dict[str, str] = {}


def use_endpoint(url: str) -> None:
    """Use another S3 server than Amazon's in this process, and on the nodes of a cluster that it joins.

    Args:
        url: For example ``http://127.0.0.1:9000``; a path is not supported.

    Raises:
        ConfigurationError: Where the address has no scheme or host, or holds credentials.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigurationError(f"--s3-endpoint {url!r} is not an address. Write http://HOST:PORT or https://HOST.")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "--s3-endpoint holds credentials, which every process list would show. Leave them out of it and set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment."
        )
    os.environ[ENDPOINT_VARIABLES[0]] = url
    _given[ENDPOINT_VARIABLES[0]] = url


def endpoint_for_nodes() -> dict[str, str]:
    """Return the environment that tells a cluster's nodes of the server that ``use_endpoint`` was given, if it was.

    What the environment of this process says is not handed on: the nodes have their own.
    """
    return dict(_given)


def endpoint() -> str | None:
    """Return the address of the S3 server, or None for Amazon's."""
    return next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), None)


@dataclass(frozen=True)
class S3Storage:
    """Objects below ``s3://bucket/prefix``.

    Every method raises ``StorageError`` where the server refuses, or fails for longer than ``patience`` allows.
    """

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        """The address of the root."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def _key(self, path: str) -> str:
        marker = "/" if path.endswith(MARKER) else ""
        return f"{self.prefix}/{path}".strip("/") + marker

    def _address(self, path: str) -> str:
        return f"s3://{self.bucket}/{self._key(path)}"

    def read(self, path: str) -> bytes:
        """See ``Storage.read``."""
        return self._get(path)

    def open_input(self, path: str) -> pa.NativeFile:
        """See ``Storage.open_input``."""
        return open_ranges(*self._ranges(path))

    def _ranges(self, path: str) -> tuple[int, Callable[[int, int], bytes]]:
        """Return the size of an object, and what fetches a range of it.

        An object that is replaced while it is read is an error, never a mixture.
        """
        head = self._request("read", path, lambda s3: s3.head_object(Bucket=self.bucket, Key=self._key(path)))
        etag = head["ETag"]

        def fetch(start: int, end: int) -> bytes:
            return self._get(path, Range=f"bytes={start}-{end - 1}", IfMatch=etag)

        return head["ContentLength"], fetch

    def _get(self, path: str, **conditions: Any) -> bytes:
        """Fetch an object or a range of it: the library checks the length, and the checksum where there is one."""

        def get(s3: S3Client) -> bytes:
            answer = s3.get_object(Bucket=self.bucket, Key=self._key(path), **conditions)
            with contextlib.closing(answer["Body"]) as body:
                return bytes(body.read())

        return self._request("read", path, get)

    def download(self, path: str, file: Path) -> None:
        """See ``Storage.download``; each piece is fetched, and where that fails fetched again, by itself."""
        size, fetch = self._ranges(path)
        file.write_bytes(b"")

        def copy(start: int) -> None:
            with file.open("r+b") as handle:
                handle.seek(start)
                handle.write(fetch(start, min(size, start + PIECE_BYTES)))

        with ThreadPoolExecutor(PIECES_AT_ONCE) as threads:
            for _ in threads.map(copy, range(0, size, PIECE_BYTES)):
                pass

    @contextlib.contextmanager
    def open_output(self, path: str) -> Iterator[BinaryIO]:
        """See ``Storage.open_output``.

        The content is gathered in a temporary local file and sent at the end of the block, in one request: a block that
        fails leaves nothing behind. A shard is far below the 5 GiB of one request.
        """
        remedy = f"The temporary folder {tempfile.gettempdir()} is full; make space there, or set TMPDIR."
        with naming_full_disk(self._address(path), remedy), tempfile.TemporaryFile() as file:
            yield file
            file.flush()

            def put(s3: S3Client) -> None:
                file.seek(0)
                s3.put_object(Bucket=self.bucket, Key=self._key(path), Body=file)

            self._request("write", path, put)

    def exists(self, path: str) -> bool:
        """See ``Storage.exists``."""
        try:
            self._request("look for", path, lambda s3: s3.head_object(Bucket=self.bucket, Key=self._key(path)))
        except FileNotFoundError:
            return False
        return True

    def list_files(self, prefix: str) -> list[str]:
        """See ``Storage.list_files``; markers of folders are no files."""
        return sorted(file.path for file in self.stored_files(prefix) if not file.path.endswith(MARKER))

    def stored_files(self, prefix: str) -> Iterator[StoredFile]:
        """See ``Storage.stored_files``; markers of folders are among them, so that they can be removed."""
        cut = len(self.prefix) + 1 if self.prefix else 0
        for page in self._pages(prefix):
            for item in page.get("Contents", []):
                if path := item["Key"][cut:]:  # else the marker of the root itself
                    yield StoredFile(path, item["Size"], item["LastModified"])

    def _pages(self, prefix: str, **options: Any) -> Iterator[Mapping[str, Any]]:
        options["Prefix"] = f"{self._key(prefix)}/".lstrip("/")
        while True:
            page = self._request("list", prefix, functools.partial(_page, Bucket=self.bucket, **options))
            yield page
            if not page.get("IsTruncated"):
                return
            options["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, path: str) -> None:
        """See ``Storage.delete``."""
        self._request("delete", path, lambda s3: s3.delete_object(Bucket=self.bucket, Key=self._key(path)))

    def list_folders(self, prefix: str) -> list[str]:
        """See ``Storage.list_folders``."""
        pages = self._pages(prefix, Delimiter="/")
        return sorted(item["Prefix"].split("/")[-2] for page in pages for item in page.get("CommonPrefixes", []))

    def write(self, path: str, data: bytes) -> None:
        """See ``Storage.write``."""
        self._request("write", path, lambda s3: s3.put_object(Bucket=self.bucket, Key=self._key(path), Body=data))

    def write_once(self, path: str, data: bytes) -> bool:
        """See ``Storage.write_once``; the server decides by ``If-None-Match: *``.

        A request that was carried out but whose answer was lost meets its own object at the next try. It knows the
        object by a mark that it left, so that of all writers exactly one is told that it wrote.
        """
        from botocore.exceptions import ClientError

        from mmsoc_ray.data.s3_errors import TAKEN, code_of

        mark = secrets.token_hex(8)
        tries = 0

        def put(s3: S3Client) -> bool:
            nonlocal tries
            tries += 1
            key = self._key(path)
            try:
                s3.put_object(Bucket=self.bucket, Key=key, Body=data, IfNoneMatch="*", Metadata={WRITER: mark})
            except ClientError as error:
                if code_of(error) not in TAKEN:
                    raise
                return False
            return True

        if self._request("write", path, put):
            return True
        return tries > 1 and self._writer(path) == mark

    def _writer(self, path: str) -> str | None:
        head = self._request("look for", path, lambda s3: s3.head_object(Bucket=self.bucket, Key=self._key(path)))
        return head["Metadata"].get(WRITER)

    def _request(self, action: str, path: str, request: Callable[[S3Client], _Answer]) -> _Answer:
        """Make a request patiently.

        Raises:
            FileNotFoundError: Where there is no such object.
            StorageError: Where it cannot be done; says what, why, and what to do.
        """
        from mmsoc_ray.data.s3_errors import LIBRARY_ERRORS, explained, passes

        try:
            client = _client(endpoint())
            return patiently(lambda: request(client), passes)
        except (*LIBRARY_ERRORS, OutOfPatienceError) as error:
            raise explained(action, self._address(path), error) from error


def _page(s3: S3Client, **options: Any) -> Any:
    return s3.list_objects_v2(**options)


@functools.cache
def _client(url: str | None) -> S3Client:
    """Return this process' client; its requests may come from several threads."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
    )
    client: S3Client = boto3.session.Session().client("s3", endpoint_url=url, config=config)
    return client
