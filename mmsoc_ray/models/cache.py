"""The folder outside the repository that keeps what is costly to make again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.full_disk import naming_full_disk


def cache_folder() -> Path:
    """Return ``$MMSOC_CACHE``, else ``$XDG_CACHE_HOME/mmsoc_ray``, else ``~/.cache/mmsoc_ray``."""
    if own := os.environ.get("MMSOC_CACHE"):
        return Path(own).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser() / "mmsoc_ray"
    return Path.home() / ".cache" / "mmsoc_ray"


def cached_folder(
    target: Path, make: Callable[[Path], None], *, is_whole: Callable[[Path], bool] = Path.is_dir
) -> Path:
    """Return a folder that is made at most once, whole or not at all.

    Several processes may ask at once: one makes it, the others wait. A process that is killed leaves only a temporary
    folder, which the next one removes.

    Args:
        target: The folder; its name must tell all that its content depends on.
        make: Fills an empty folder.
        is_whole: Tells whether the folder can be used as it is; one that cannot is made again.
    """
    if is_whole(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(target.name + ".lock")):
        if is_whole(target):
            return target
        for leftover in (*target.parent.glob(f".{target.name}.*"), target):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            with naming_full_disk(target, "Make space there, or set MMSOC_CACHE to another folder."):
                make(temporary)
            temporary.chmod(0o755)
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return target


def check_room(folder: Path, size: int, what: str) -> None:
    """Refuse what does not fit on the disk of a folder.

    Args:
        folder: A folder below the cache folder.
        size: Bytes that are to come.
        what: What they are.

    Raises:
        ConfigurationError: Naming the folder, both sizes and the remedy.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ConfigurationError(
            f"{what} takes {size / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB left. Set MMSOC_CACHE to a "
            f"folder on a larger disk of this machine, or remove what is old below {cache_folder()}."
        )


def write_atomically(file: Path, content: str) -> None:
    """Write a text file so that a reader sees the old or the new content, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold an advisory lock between the processes of this machine; the system frees it when its holder dies."""
    with file.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
