"""A disk of a few kilobytes that can be filled to the last byte: a tmpfs in a mount namespace of its own.

Its files are reached by an ordinary path from all processes of this user, below ``/proc/PID/root``. No rights are
needed where users may make namespaces; root may always.
"""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PAGE = 4096


class NoSmallDiskError(Exception):
    """This machine does not let a user mount a disk of their own; says why."""


@dataclass
class SmallDisk:
    """The disk; a context manager.

    Attributes:
        kilobytes: Its size.
    """

    kilobytes: int

    def __enter__(self) -> Self:
        """Mount the disk.

        Raises:
            NoSmallDiskError: Where that is not allowed.
        """
        mount = f"mount -t tmpfs -o size={self.kilobytes}k none /mnt && echo mounted && exec cat"
        # As root the new user namespace may be forbidden, and is not needed.
        for command in (["unshare", "-rm"], ["unshare", "-m"]):
            try:
                self._holder = subprocess.Popen(
                    [*command, "sh", "-c", mount], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            except FileNotFoundError as error:
                raise NoSmallDiskError("unshare is not installed") from error
            assert self._holder.stdout is not None
            if self._holder.stdout.readline() == b"mounted\n":
                return self
            said = self._holder.communicate()[1].decode().strip()
        raise NoSmallDiskError(f"no tmpfs can be mounted here: {said}")

    def __exit__(self, *error: object) -> None:
        self._holder.communicate()

    @property
    def folder(self) -> Path:
        """Its root."""
        return Path(f"/proc/{self._holder.pid}/root/mnt")

    def fill(self, *, leave: int = 0) -> None:
        """Fill it with one file until so many bytes are left, rounded up to a page."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(PAGE))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            filler.truncate(max(0, filler.tell() // PAGE - -(-leave // PAGE)) * PAGE)

    def make_space(self) -> None:
        """Remove what ``fill`` wrote."""
        (self.folder / "filler").unlink()

    def left(self) -> int:
        """Return the bytes that are free."""
        about = os.statvfs(self.folder)
        return about.f_bavail * about.f_frsize
