"""Models of a Hugging Face hub: which files of a repository an engine reads, and how they are fetched and checked.

The client and its environment are the hub's: ``HF_ENDPOINT`` names another server, ``HF_TOKEN`` who asks. A token that
the client keeps in a file is not used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.digests import shapes_answers
from mmsoc_ray.models.packaged import CheckpointError

if TYPE_CHECKING:
    import pyarrow as pa
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_CHUNK = 1 << 20
_WEIGHTS = ".safetensors"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


@dataclass(frozen=True)
class HubFile:
    """A file as the hub states it.

    Attributes:
        path: Path in the repository.
        size: In bytes.
        sha256: Digest of a file in large storage (LFS), else empty.
        git_sha1: Name that git gives any other file, else empty.
    """

    path: str
    size: int
    sha256: str = ""
    git_sha1: str = ""

    def copy(self, source: BinaryIO | pa.NativeFile, output: BinaryIO | None = None) -> str:
        """Read a copy in pieces, write it to ``output``, and return its sha256.

        Raises:
            CheckpointError: Where the copy is not what the hub states.
        """
        sha256 = hashlib.sha256()
        git = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)  # as git names a file
        size = 0
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            sha256.update(chunk)
            git.update(chunk)
            if output is not None:
                output.write(chunk)
        found = sha256.hexdigest() if self.sha256 else git.hexdigest()
        stated = self.sha256 or self.git_sha1
        if (size, found) != (self.size, stated):
            raise CheckpointError(
                f"{self.path}: the hub states {self.size:,} bytes with digest {stated}, and {size:,} with {found} "
                f"came. The file was not kept; pull again."
            )
        return sha256.hexdigest()


@dataclass(frozen=True)
class HubModel:
    """A model of the hub at one commit.

    Attributes:
        checkpoint: Hub id.
        commit: The commit.
        licence: As its card states it; empty where it states none.
        files: The files that an engine reads, the smallest first: what cannot be written shows before gigabytes came.
    """

    checkpoint: str
    commit: str
    licence: str
    files: tuple[HubFile, ...]

    def fetch(self, file: HubFile, folder: Path) -> Path:
        """Fetch one file into a folder.

        Raises:
            ConfigurationError: Where the hub does not give it.
        """
        with _explained(f"{self.checkpoint}@{self.commit}, {file.path}"):
            found = _client().hf_hub_download(self.checkpoint, file.path, revision=self.commit, local_dir=folder)
        return Path(found)


def look_up(checkpoint: str, revision: str | None) -> HubModel:
    """Ask the hub for a model at a commit, branch or tag, by default its head.

    Raises:
        ConfigurationError: Where the hub does not answer, or does not have it.
        CheckpointError: Where it has no safetensors, or states no digest for a file.
    """
    with _explained(f"{checkpoint}@{revision or 'main'}"):
        info = _client().model_info(checkpoint, revision=revision, files_metadata=True)
    siblings = info.siblings or []
    at = f"{checkpoint}@{info.sha}"
    needed = tuple(_stated(file, at) for file in siblings if shapes_answers(file.rfilename))
    if not any(file.path.endswith(_WEIGHTS) for file in needed):
        raise _no_safetensors(at, [file.rfilename for file in siblings])
    return HubModel(checkpoint, str(info.sha), _licence(info), tuple(sorted(needed, key=lambda file: file.size)))


def _client() -> HfApi:
    from huggingface_hub import HfApi

    # False keeps the client from a token that it finds elsewhere.
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=os.environ.get("HF_TOKEN") or False)


@contextmanager
def _explained(asked: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the client's errors, and those of what it is built on, have no base in common
        said = str(error).strip().splitlines()
        raise ConfigurationError(
            f"{asked}: the hub did not give it ({said[0] if said else type(error).__name__}). A gated or private model "
            f"needs HF_TOKEN in the environment; HF_ENDPOINT names another hub."
        ) from error


def _stated(file: RepoSibling, at: str) -> HubFile:
    if file.lfs is not None:
        return HubFile(file.rfilename, file.lfs.size, sha256=file.lfs.sha256)
    if file.size is None or file.blob_id is None:
        raise CheckpointError(f"{at}: the hub states no digest for {file.rfilename}, so it cannot be checked.")
    return HubFile(file.rfilename, file.size, git_sha1=file.blob_id)


def _no_safetensors(at: str, names: list[str]) -> CheckpointError:
    pickled = next((name for name in names if name.endswith(_PICKLED)), None)
    return CheckpointError(
        f"{at} holds no safetensors{f', only {pickled}' if pickled else ''}. Pickled weights run code when they are "
        f"read and are not fetched. Name a revision that has safetensors (--revision refs/pr/N, where somebody has "
        f"proposed a conversion), or convert them yourself with save_pretrained and name that folder in the grid, "
        f"models.NAME.checkpoint."
    )


def _licence(info: ModelInfo) -> str:
    card = info.card_data
    if card is None:
        return ""
    name = card.get("license_name") if card.get("license") == "other" else None
    stated = name or card.get("license") or ""
    return ", ".join(stated) if isinstance(stated, list) else str(stated)
