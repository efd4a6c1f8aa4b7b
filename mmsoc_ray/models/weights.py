"""Pulled weights: checkpoints of a hub as ``mmsoc models pull`` keeps them, in a folder or on S3.

``<root>/<owner>/<name>/<commit>/`` holds the files that an engine reads; ``model.json`` beside them is written last, so
its presence proves the rest.
"""

from __future__ import annotations

import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mmsoc_ray.data import Storage, open_storage
from mmsoc_ray.models.cache import cache_folder, cached_folder, check_room
from mmsoc_ray.models.digests import (
    WEIGHTS_MANIFEST,
    checkpoint_files,
    combined_digest,
    model_digest,
    remember_sha256,
    shapes_answers,
)
from mmsoc_ray.models.entry import ModelEntry
from mmsoc_ray.models.packaged import CheckpointError, file_sha256

MANIFEST_VERSION = 1
FILES_AT_ONCE = 4
"""Files that a node fetches side by side, so that one is checked while others come."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHA256 = Field(pattern="^[0-9a-f]{64}$")


class WeightFile(BaseModel):
    """One file of a checkpoint: its path inside the folder, its size in bytes and its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size: int = Field(ge=0)
    sha256: str = _SHA256

    @field_validator("path")
    @classmethod
    def _inside_the_folder(cls, path: str) -> str:
        if not shapes_answers(path):
            raise ValueError(f"{path!r} is no path of a checkpoint's file")
        return path


class PulledWeights(BaseModel):
    """What stands in ``model.json`` beside pulled weights.

    Attributes:
        checkpoint: Hub id.
        revision: Commit of the hub.
        licence: As the card of the weights states it; empty where it states none.
        files: The files, by path.
        digest: What ``model_digest`` gives for a folder with these files.
        pulled_at: When, in UTC; enters no digest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = MANIFEST_VERSION
    checkpoint: str
    revision: str
    licence: str = ""
    files: tuple[WeightFile, ...] = Field(min_length=1)
    digest: str = _SHA256
    pulled_at: str

    @model_validator(mode="after")
    def _digest_of_its_files(self) -> Self:
        if self.digest != combined_digest({file.path: file.sha256 for file in self.files}):
            raise ValueError("the digest is not that of the files")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def is_hub_id(checkpoint: str) -> bool:
    """Whether a checkpoint is named as a hub does, ``OWNER/NAME``."""
    return _HUB_ID.fullmatch(checkpoint) is not None


def is_remote(checkpoint: str) -> bool:
    """Whether a checkpoint lies on object storage."""
    return checkpoint.startswith("s3://")


def checkpoint_address(checkpoint: str) -> str:
    """Return where a checkpoint lies, as every process may open it: an ``s3://`` address, or an absolute path."""
    return checkpoint.rstrip("/") if is_remote(checkpoint) else str(Path(checkpoint).expanduser().absolute())


def read_weights(folder: Storage) -> PulledWeights:
    """Read the manifest of pulled weights and check that every file that it names is there.

    Raises:
        CheckpointError: Where the manifest or a file is missing, or the manifest cannot be read.
    """
    address = f"{folder.uri}/{WEIGHTS_MANIFEST}"
    try:
        weights = PulledWeights.model_validate_json(folder.read(WEIGHTS_MANIFEST))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{address} does not exist. Name a folder that 'mmsoc models pull' has filled: ROOT/OWNER/NAME/COMMIT."
        ) from error
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in error.errors()[:3])
        raise CheckpointError(
            f"{address} is no manifest of this version ({said}). Pull the model again, or remove the file."
        ) from error
    present = set(folder.list_files(""))
    missing = [file.path for file in weights.files if file.path not in present]
    if missing:
        raise CheckpointError(
            f"{folder.uri}/{missing[0]} is missing ({len(missing)} of {len(weights.files)} files). Pull it again."
        )
    return weights


def pulled_below(root: Storage, checkpoint: str = "") -> list[str]:
    """Return the folders of all pulled weights below a root, or of one checkpoint's revisions, as paths in it."""
    found = (PurePosixPath(path) for path in root.list_files(checkpoint))
    return [str(path.parent) for path in found if path.name == WEIGHTS_MANIFEST and len(path.parts) == 4]


def locate_weights(entry: ModelEntry, root: str) -> ModelEntry:
    """Return a model's entry with its pulled weights in place of its hub id; another entry comes back as it is.

    Args:
        entry: The model.
        root: What ``--output`` of ``mmsoc models pull`` was.

    Raises:
        CheckpointError: Where its weights are not there, or in several revisions of which none is pinned.
    """
    if not is_hub_id(entry.checkpoint):
        return entry
    storage = open_storage(checkpoint_address(root))
    folders = pulled_below(storage, entry.checkpoint)
    if entry.revision is not None:
        folders = [folder for folder in folders if PurePosixPath(folder).name == entry.revision]
    if not folders:
        wanted = entry.checkpoint + (f" at {entry.revision}" if entry.revision else "")
        raise CheckpointError(
            f"model {entry.name!r}: {wanted} is not pulled below {storage.uri}. Run: mmsoc models pull {entry.name} "
            f"--output {root}"
        )
    if len(folders) > 1:
        raise CheckpointError(
            f"model {entry.name!r}: several revisions lie below {storage.uri}: {', '.join(folders)}. Name one in the "
            f"grid, models.{entry.name}.checkpoint: {storage.uri}/{folders[0]}"
        )
    return dataclasses.replace(entry, checkpoint=f"{storage.uri}/{folders[0]}", revision=PurePosixPath(folders[0]).name)


def fetch_weights(source: Storage, *, readers_only: bool = False) -> Path:
    """Return the folder of this machine that holds a copy of pulled weights, fetching them when it does not.

    With ``readers_only``, the weights themselves stay where they are: configuration, tokenizer and processor are small.

    The folder lies in the cache folder, under the digest of the weights. Of several processes that ask at once, one
    fetches. Every file is checked against the manifest; a folder that has lost or changed a byte is fetched again.

    Raises:
        ConfigurationError: Where the weights are not pulled, not what their manifest says, or do not fit on the disk.
        StorageError: Where the server refuses.
    """
    weights = read_weights(source)
    files = [file for file in weights.files if not (readers_only and file.path.endswith(".safetensors"))]
    digest = combined_digest({file.path: file.sha256 for file in files})

    def is_whole(folder: Path) -> bool:
        return (folder / files[0].path).is_file() and model_digest(folder) == digest

    def fetch(folder: Path) -> None:
        check_room(folder, sum(file.size for file in files), weights.checkpoint)
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            list(pool.map(lambda file: _fetch_file(source, file, folder), files))
        fetched.append(folder)

    fetched: list[Path] = []
    folder = cached_folder(cache_folder() / "weights" / digest, fetch, is_whole=is_whole)
    if fetched:  # and checked: no reason to read the files again
        for file in files:
            remember_sha256(folder / file.path, file.sha256)
    return folder


def _fetch_file(source: Storage, file: WeightFile, folder: Path) -> None:
    there = folder / file.path
    there.parent.mkdir(parents=True, exist_ok=True)
    source.download(file.path, there)
    found = file_sha256(there)
    if found != file.sha256:
        raise CheckpointError(
            f"{source.uri}/{file.path}: sha256 is {found}, its manifest says {file.sha256}. Remove {source.uri} and "
            f"pull the model again."
        )


def planned_digest(folder: Path) -> str:
    """Return the digest of a checkpoint's folder, from its manifest where it was pulled: no weights are read then.

    Raises:
        CheckpointError: Where there is no checkpoint, or its files are not those of its manifest.
    """
    if not (folder / WEIGHTS_MANIFEST).is_file():
        return model_digest(folder)
    weights = read_weights(open_storage(folder))
    sizes = {name: file.stat().st_size for name, file in checkpoint_files(folder).items()}
    changed = {*sizes.items()} ^ {(file.path, file.size) for file in weights.files}
    if changed:
        raise CheckpointError(
            f"{folder}: {', '.join(sorted({name for name, _ in changed}))} is not as its {WEIGHTS_MANIFEST} says. Pull "
            f"the model again into an empty folder; to use changed files as a model of your own, remove "
            f"{WEIGHTS_MANIFEST}."
        )
    return weights.digest
