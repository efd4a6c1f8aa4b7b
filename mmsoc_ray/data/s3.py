"""Objects on Amazon S3, or on any server that speaks its protocol.

Credentials come from the environment, the shared configuration files or the instance's role, as boto3 and Arrow find
them, never from arguments. ``AWS_ENDPOINT_URL_S3`` (or ``AWS_ENDPOINT_URL``) names another server than Amazon's.

boto3 does all but ranged reads of Parquet, for which Arrow's file system is made.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from mmsoc_ray.data.stored_file import StoredFile
from mmsoc_ray.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
ATTEMPTS = 10
"""Tries of one request, with exponential backoff of at most 20 s between them: a minute without server is survived."""

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60

_given: dict[str, str] = {}
_TAKEN = ("PreconditionFailed", "412")
_CONFLICT = "ConditionalRequestConflict"
_ABSENT = ("404", "NoSuchKey", "NotFound")
_REMEDIES = {
    "NoSuchBucket": "Create the bucket, or mend its name.",
    "AccessDenied": "Give the node's role or the key in the environment the right to do this (deploy/iam-nodes.json).",
    "403": "Give the node's role or the key in the environment the right to do this (deploy/iam-nodes.json).",
    "InvalidAccessKeyId": "The server does not know the key in the environment (AWS_ACCESS_KEY_ID).",
    "SignatureDoesNotMatch": "The secret in the environment (AWS_SECRET_ACCESS_KEY) does not belong to the key.",
    "NoCredentialsError": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the node a role.",
    "ExpiredToken": "The credentials in the environment have expired; renew them.",
    "PermanentRedirect": "The bucket is in another region; set AWS_REGION.",
    "EndpointConnectionError": "Nothing answers there; see AWS_ENDPOINT_URL_S3 or --s3-endpoint.",
}


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

    Every method raises ``StorageError`` where the server refuses or cannot be reached after ``ATTEMPTS`` tries.
    """

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        """The address of the root."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}".strip("/")

    def _address(self, path: str) -> str:
        return f"s3://{self.bucket}/{self._key(path)}"

    def read(self, path: str) -> bytes:
        """See ``Storage.read``."""
        with self._explained("read", path):
            content: bytes = _client(endpoint()).get_object(Bucket=self.bucket, Key=self._key(path))["Body"].read()
        return content

    def open_input(self, path: str) -> pa.NativeFile:
        """See ``Storage.open_input``."""
        with self._explained("read", path):
            return _filesystem(endpoint()).open_input_file(f"{self.bucket}/{self._key(path)}")

    def download(self, path: str, file: Path) -> None:
        """See ``Storage.download``."""
        with self._explained("read", path):
            _client(endpoint()).download_file(self.bucket, self._key(path), str(file))

    @contextlib.contextmanager
    def open_output(self, path: str) -> Iterator[BinaryIO]:
        """See ``Storage.open_output``.

        The content is gathered in a temporary local file and uploaded at the end of the block: neither library can take
        back what it has sent of an object that turns out to be half.
        """
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with self._explained("write", path):
                _client(endpoint()).upload_fileobj(file, self.bucket, self._key(path))

    def exists(self, path: str) -> bool:
        """See ``Storage.exists``."""
        try:
            with self._explained("look for", path):
                _client(endpoint()).head_object(Bucket=self.bucket, Key=self._key(path))
        except FileNotFoundError:
            return False
        return True

    def list_files(self, prefix: str) -> list[str]:
        """See ``Storage.list_files``."""
        return sorted(file.path for file in self.stored_files(prefix))

    def stored_files(self, prefix: str) -> Iterator[StoredFile]:
        """See ``Storage.stored_files``."""
        pages = _client(endpoint()).get_paginator("list_objects_v2")
        folder = f"{self._key(prefix)}/".lstrip("/")
        cut = len(self.prefix) + 1 if self.prefix else 0
        with self._explained("list", prefix):
            for page in pages.paginate(Bucket=self.bucket, Prefix=folder):
                for item in page.get("Contents", []):
                    yield StoredFile(item["Key"][cut:], item["Size"], item["LastModified"])

    def delete(self, path: str) -> None:
        """See ``Storage.delete``."""
        with self._explained("delete", path):
            _client(endpoint()).delete_object(Bucket=self.bucket, Key=self._key(path))

    def list_folders(self, prefix: str) -> list[str]:
        """See ``Storage.list_folders``."""
        pages = _client(endpoint()).get_paginator("list_objects_v2")
        folder = f"{self._key(prefix)}/".lstrip("/")
        with self._explained("list", prefix):
            found = pages.paginate(Bucket=self.bucket, Prefix=folder, Delimiter="/")
            return sorted(item["Prefix"][len(folder) : -1] for page in found for item in page.get("CommonPrefixes", []))

    def write(self, path: str, data: bytes) -> None:
        """See ``Storage.write``."""
        with self._explained("write", path):
            _client(endpoint()).put_object(Bucket=self.bucket, Key=self._key(path), Body=data)

    def write_once(self, path: str, data: bytes) -> bool:
        """See ``Storage.write_once``; the server decides by ``If-None-Match: *``.

        A conflict with another writer's unfinished request (409) says nothing about who won, so it is tried again. A
        repeated request whose first try had got through finds its own object and returns False: the bytes are there.
        """
        from botocore.exceptions import ClientError

        for attempt in range(ATTEMPTS):
            try:
                with self._explained("write", path, passing=(*_TAKEN, _CONFLICT)):
                    _client(endpoint()).put_object(Bucket=self.bucket, Key=self._key(path), Body=data, IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] in _TAKEN:
                    return False
                time.sleep(0.05 * 2**attempt)
            else:
                return True
        raise StorageError(f"cannot write {self._address(path)}: {ATTEMPTS} conflicts with other writers. Run again.")

    @contextlib.contextmanager
    def _explained(self, action: str, path: str, *, passing: tuple[str, ...] = ()) -> Iterator[None]:
        """Turn what the libraries raise into ``FileNotFoundError`` or ``StorageError``; let some codes pass."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response["Error"].get("Code", "unknown")
            if code in passing:
                raise
            if code in _ABSENT:
                raise FileNotFoundError(errno.ENOENT, "no such object", self._address(path)) from error
            raise self._refused(action, path, code, error.response["Error"].get("Message", "")) from error
        except BotoCoreError as error:
            raise self._refused(action, path, type(error).__name__, str(error)) from error
        except FileNotFoundError as error:  # Arrow's
            raise FileNotFoundError(errno.ENOENT, "no such object", self._address(path)) from error
        except OSError as error:  # Arrow's
            raise self._refused(action, path, "", str(error)) from error

    def _refused(self, action: str, path: str, code: str, message: str) -> StorageError:
        said = ": ".join(part for part in (code, " ".join(message.split())) if part)
        return StorageError(f"cannot {action} {self._address(path)}: {said}. {_REMEDIES.get(code, '')}".rstrip())


@functools.cache
def _client(url: str | None) -> S3Client:
    """Return this process' client; its requests may come from several threads."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
    )
    client: S3Client = boto3.session.Session().client("s3", endpoint_url=url, config=config)
    return client


@functools.cache
def _filesystem(url: str | None) -> Any:
    options: dict[str, Any] = {
        "retry_strategy": pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        "connect_timeout": CONNECT_TIMEOUT_S,
        "request_timeout": READ_TIMEOUT_S,
    }
    if url:
        parts = urlsplit(url)
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
        options["region"] = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return pafs.S3FileSystem(**options)
