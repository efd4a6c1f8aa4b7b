"""The one door to files: a local folder or an ``s3://`` prefix behind the same few calls.

``s3.py`` says where credentials come from. Nothing secret is ever taken from arguments.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit

import pyarrow as pa

from mmsoc_ray.data.s3 import S3Storage
from mmsoc_ray.data.stored_file import StoredFile
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.full_disk import naming_full_disk

TEMPORARY_PREFIX = ".tmp-"
"""Unfinished local files begin so; listings leave them out."""

FOLDER_TRIES = 5
"""So often a folder is made again that another process removes before a file stands in it."""


class Storage(Protocol):
    """Files below one root, named by relative paths with forward slashes."""

    @property
    def uri(self) -> str:
        """The address of the root."""
        ...

    def read(self, path: str) -> bytes:
        """Return a file's content; ``FileNotFoundError`` names the full address."""
        ...

    def open_input(self, path: str) -> pa.NativeFile:
        """Open a file for ranged reads."""
        ...

    def download(self, path: str, file: Path) -> None:
        """Copy a whole file to a local one, in parallel pieces where the server allows; as errors, see ``read``."""
        ...

    def open_output(self, path: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open a file for streaming output; it appears under its name only when the block ends without an error."""
        ...

    def exists(self, path: str) -> bool:
        """Tell whether the file is there."""
        ...

    def list_files(self, prefix: str) -> list[str]:
        """Return the paths of all finished files below a folder, sorted; empty where there is no such folder."""
        ...

    def list_folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below a folder, sorted, without listing what they hold."""
        ...

    def stored_files(self, prefix: str) -> Iterator[StoredFile]:
        """Yield every file below a folder, unfinished ones too, in no order."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file atomically, replacing what was there."""
        ...

    def write_once(self, path: str, data: bytes) -> bool:
        """Write a file unless it exists: the first writer wins. Return whether this call wrote it."""
        ...


def open_storage(uri: str | os.PathLike[str]) -> Storage:
    """Open a root by its address: a local path, ``file://`` or ``s3://bucket/prefix``.

    Raises:
        ConfigurationError: For another scheme, or an S3 address without a bucket.
    """
    address = os.fspath(uri)
    parts = urlsplit(address)
    if parts.scheme == "s3":
        if not parts.netloc:
            raise ConfigurationError(f"{address!r} names no bucket. Write s3://BUCKET/PREFIX.")
        return S3Storage(bucket=parts.netloc, prefix=parts.path.strip("/"))
    if parts.scheme == "file":
        return LocalStorage(Path(parts.path))
    if "://" in address:
        raise ConfigurationError(f"Storage {address!r} has the scheme {parts.scheme!r}. Allowed: a local path, s3://.")
    return LocalStorage(Path(address).absolute())  # workers elsewhere take it along


def write_changed(root: Storage, path: str, data: bytes) -> None:
    """Write a file unless it holds these bytes already, so that a repeated step changes nothing."""
    if not root.exists(path) or root.read(path) != data:
        root.write(path, data)


@dataclass(frozen=True)
class LocalStorage:
    """Files below a local folder (which may be a mounted network file system with hard links)."""

    root: Path

    @property
    def uri(self) -> str:
        """The absolute path of the root."""
        return str(self.root.absolute())

    def _at(self, path: str) -> Path:
        return self.root / path

    def read(self, path: str) -> bytes:
        """See ``Storage.read``."""
        return self._at(path).read_bytes()

    def open_input(self, path: str) -> pa.NativeFile:
        """See ``Storage.open_input``."""
        return pa.OSFile(str(self._at(path)), "rb")

    def download(self, path: str, file: Path) -> None:
        """See ``Storage.download``."""
        shutil.copyfile(self._at(path), file)

    @contextlib.contextmanager
    def open_output(self, path: str) -> Iterator[BinaryIO]:
        """See ``Storage.open_output``."""
        with self._finished_temporary(path) as (handle, temporary):
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
            os.replace(temporary, self._at(path))

    def exists(self, path: str) -> bool:
        """See ``Storage.exists``."""
        return self._at(path).is_file()

    def list_files(self, prefix: str) -> list[str]:
        """See ``Storage.list_files``."""
        files = (file for file in self._walk(prefix) if file.is_file())
        return sorted(f.relative_to(self.root).as_posix() for f in files if not f.name.startswith(TEMPORARY_PREFIX))

    def _walk(self, prefix: str) -> Iterator[Path]:
        """Yield what is below a folder and no folder itself.

        ``Path.rglob`` would raise where another process removes a folder at the same time.
        """
        for folder, _, names in os.walk(self._at(prefix)):
            yield from (Path(folder, name) for name in names)

    def list_folders(self, prefix: str) -> list[str]:
        """See ``Storage.list_folders``."""
        folder = self._at(prefix)
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def stored_files(self, prefix: str) -> Iterator[StoredFile]:
        """See ``Storage.stored_files``."""
        for file in self._walk(prefix):
            with contextlib.suppress(FileNotFoundError):  # another process may just have removed it
                about = file.lstat()
                path = file.relative_to(self.root).as_posix()
                yield StoredFile(path, about.st_size, datetime.fromtimestamp(about.st_mtime, UTC))

    def delete(self, path: str) -> None:
        """See ``Storage.delete``; folders that are left empty go too."""
        self._at(path).unlink(missing_ok=True)
        for folder in self._at(path).parents:
            if folder == self.root:
                break
            try:
                folder.rmdir()
            except OSError:  # not empty
                break

    def write(self, path: str, data: bytes) -> None:
        """See ``Storage.write``."""
        with self.open_output(path) as handle:
            handle.write(data)

    def write_once(self, path: str, data: bytes) -> bool:
        """See ``Storage.write_once``; ``os.link`` of a finished temporary file decides who was first."""
        if self.exists(path):
            return False
        with self._finished_temporary(path) as (handle, temporary):
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
            try:
                os.link(temporary, self._at(path))
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno in (errno.EPERM, errno.ENOTSUP):
                    raise OSError(
                        error.errno, f"{self._at(path)}: the file system has no hard links; use another folder or s3://"
                    ) from error
                raise
        return True

    @contextlib.contextmanager
    def _finished_temporary(self, path: str) -> Iterator[tuple[BinaryIO, Path]]:
        folder = self._at(path).parent
        temporary = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        with naming_full_disk(self._at(path).absolute(), "Make space, or name another folder; then run again."):
            try:
                with _new_file(temporary) as handle:
                    yield handle, temporary
            finally:
                temporary.unlink(missing_ok=True)


def _new_file(file: Path) -> BinaryIO:
    """Open a file that is not there yet, in a folder that ``delete`` in another process may just find empty."""
    for tries_left in reversed(range(FOLDER_TRIES)):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            return file.open("xb")
        except FileNotFoundError:
            if not tries_left:
                raise
    raise AssertionError("unreachable")
