"""The digest of a checkpoint: which weights, tokenizer and processor answered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mmsoc_ray.models.cache import cache_folder, write_atomically
from mmsoc_ray.models.packaged import CheckpointError, file_sha256

_SUFFIXES = (".safetensors", ".bin", ".pt", ".json", ".jinja", ".model", ".txt", ".py")


def model_digest(path: Path) -> str:
    """Return the sha256 over the files of a checkpoint that shape its answers.

    Those are weights, configuration, tokenizer, processor and code, by their path inside the folder and their content;
    where the folder lies and when it was written do not enter. Each file's digest is remembered in the cache folder
    under its path, size and modification time, so that asking again reads no weights.

    Raises:
        CheckpointError: When ``path`` is no folder or holds no such file.
    """
    files = _files(path)
    if not files:
        raise CheckpointError(f"{path}: no checkpoint folder (no file with one of {', '.join(_SUFFIXES)})")
    total = hashlib.sha256()
    for name, file in files:
        total.update(f"{name}\0{_remembered_sha256(file)}\n".encode())
    return total.hexdigest()


def _files(path: Path) -> list[tuple[str, Path]]:
    if not path.is_dir():
        return []
    found = ((file.relative_to(path), file) for file in path.rglob("*") if file.is_file())
    wanted = (
        (name.as_posix(), file)
        for name, file in found
        if file.suffix in _SUFFIXES and not any(part.startswith(".") for part in name.parts)
    )
    return sorted(wanted)


def _remembered_sha256(file: Path) -> str:
    state = file.stat()
    identity = json.dumps([str(file.resolve()), state.st_size, state.st_mtime_ns, state.st_ino])
    note = cache_folder() / "digests" / hashlib.sha256(identity.encode()).hexdigest()
    try:
        remembered = note.read_text(encoding="utf-8")
        if len(remembered) == 64:
            return remembered
    except OSError:
        pass
    digest = file_sha256(file)
    try:
        write_atomically(note, digest)
    except OSError:
        # A cache that cannot be written costs time, not the answer.
        return digest
    return digest
