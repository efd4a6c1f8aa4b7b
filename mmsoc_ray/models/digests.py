"""The digest of a checkpoint: which weights, tokenizer and processor answered."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mmsoc_ray.models.cache import cache_folder, locked, write_atomically
from mmsoc_ray.models.packaged import CheckpointError, file_sha256

WEIGHTS_MANIFEST = "model.json"
"""What ``mmsoc models pull`` writes beside the files; no part of the checkpoint."""

_WEIGHTS = ".safetensors"
_READERS = (".json", ".jinja", ".model", ".txt")
_INDEX = ".index.json"


def shapes_answers(name: str) -> bool:
    """Whether an engine reads a checkpoint's file, told by its path inside the folder.

    It reads safetensors beside the configuration; configuration, tokenizer, processor and chat templates there and in
    folders below (``qformer_tokenizer/``). It reads no pickled weights (``.bin``, ``.pt``) and no code.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or any(part.startswith(".") for part in path.parts) or name == WEIGHTS_MANIFEST:
        return False
    if path.suffix == _WEIGHTS:
        return len(path.parts) == 1
    if name.endswith(_INDEX):
        return name.endswith(_WEIGHTS + _INDEX)
    return path.suffix in _READERS


def checkpoint_files(folder: Path) -> dict[str, Path]:
    """Return the files of a checkpoint that shape its answers, by path inside the folder; none where there is none."""
    return {
        name: file
        for file in (folder.rglob("*") if folder.is_dir() else ())
        if shapes_answers(name := file.relative_to(folder).as_posix()) and file.is_file()
    }


def json_digest(value: Any) -> str:
    """Return the SHA-256 of a value as JSON; the order in which a mapping was filled does not enter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def combined_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a checkpoint from the sha256 of each of its files, by path inside the folder."""
    total = hashlib.sha256()
    for name, sha256 in sorted(files.items()):
        total.update(f"{name}\0{sha256}\n".encode())
    return total.hexdigest()


def model_digest(path: Path) -> str:
    """Return the sha256 over the files of a checkpoint that shape its answers.

    Those are weights, configuration, tokenizer and processor (``shapes_answers``), by their path inside the folder and
    their content; where the folder lies and when it was written do not enter. Each file's digest is remembered in the
    cache folder under its path, inode, size and times of change, so that asking again reads no weights; of several
    processes that ask at once, one reads.

    Raises:
        CheckpointError: When ``path`` is no folder or holds no such file.
    """
    files = checkpoint_files(path)
    if not files:
        kinds = ", ".join((_WEIGHTS, *_READERS))
        raise CheckpointError(f"{path}: no checkpoint folder (no file with one of {kinds})")
    return combined_digest({name: remembered_sha256(file) for name, file in files.items()})


def noted_digest(path: Path) -> str | None:
    """Return ``model_digest`` where it is remembered of every file; None otherwise. Reads no weights."""
    files = checkpoint_files(path)
    noted = {name: _noted(_note(file)) for name, file in files.items()}
    known = {name: sha256 for name, sha256 in noted.items() if sha256}
    return combined_digest(known) if known and len(known) == len(files) else None


def remember_sha256(file: Path, sha256: str) -> None:
    """Note the digest of a file as it is now; a cache that cannot be written costs time, not the answer."""
    with contextlib.suppress(OSError):
        write_atomically(_note(file), sha256)


def remembered_sha256(file: Path) -> str:
    """Return the sha256 of a file; it is read only where it was never asked for as it is now."""
    note = _note(file)
    if noted := _noted(note):
        return noted
    with contextlib.ExitStack() as turn:
        with contextlib.suppress(OSError):  # without a cache, every process reads for itself
            note.parent.mkdir(parents=True, exist_ok=True)
            turn.enter_context(locked(note.parent / ".lock"))
        if noted := _noted(note):
            return noted
        sha256 = file_sha256(file)
        if _note(file) == note:  # else the file was written to meanwhile
            remember_sha256(file, sha256)
        return sha256


def _note(file: Path) -> Path:
    state = file.stat()
    identity = [str(file.resolve()), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    return cache_folder() / "digests" / hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _noted(note: Path) -> str | None:
    try:
        noted = note.read_text(encoding="utf-8")
    except OSError:
        return None
    return noted if len(noted) == 64 else None
