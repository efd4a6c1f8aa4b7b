"""Bringing the weights of a hub to a folder or to S3, once: what ``mmsoc models pull`` does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mmsoc_ray.data import Storage, open_storage
from mmsoc_ray.errors import ConfigurationError, StorageError, unknown_name
from mmsoc_ray.models.cache import cache_folder, check_room, locked
from mmsoc_ray.models.digests import WEIGHTS_MANIFEST, combined_digest, remember_sha256
from mmsoc_ray.models.hub import HubFile, HubModel, look_up
from mmsoc_ray.models.packaged import CheckpointError
from mmsoc_ray.models.registry import get_model, model_names
from mmsoc_ray.models.weights import PulledWeights, WeightFile, is_hub_id, is_remote, read_weights

Say = Callable[[str], None]
"""Told in a line what is being done."""


@dataclass(frozen=True)
class Wanted:
    """What a pull is to bring.

    Attributes:
        name: What the user called it.
        checkpoint: Hub id.
        revision: Commit, branch or tag; None is the hub's current head.
    """

    name: str
    checkpoint: str
    revision: str | None


@dataclass(frozen=True)
class Pull:
    """What a pull ended with.

    Attributes:
        weights: The manifest.
        folder: Address of the folder that holds them.
        transferred: Files that came from the hub; 0 where all were there.
    """

    weights: PulledWeights
    folder: str
    transferred: int


def wanted(name: str, revision: str | None) -> Wanted:
    """Return what is to be pulled for a model of the registry, or for any hub id ``OWNER/NAME``.

    Raises:
        ConfigurationError: For a name that is not known, a model without weights of its own on a hub, or a revision
            other than the pinned one.
    """
    if is_hub_id(name):
        return Wanted(name, name, revision)
    if name not in model_names():
        other = "Any other model is named by its hub id, OWNER/NAME."
        raise ConfigurationError(f"{unknown_name('model', name, model_names(), where='mmsoc models pull')} {other}")
    entry = get_model(name)
    if entry.engine == "endpoint":
        raise ConfigurationError(f"{name} answers through a server, which has its own weights: {entry.note}.")
    if not is_hub_id(entry.checkpoint):
        why = "is made from installed Python packages" if entry.checkpoint else "is a baseline without weights"
        raise ConfigurationError(f"{name} {why}: there is nothing to pull, and a grid names it as it is.")
    if entry.revision is not None and revision not in (None, entry.revision):
        raise ConfigurationError(
            f"--revision {revision}: {name} is pinned to {entry.revision}. Leave --revision out, or pull "
            f"{entry.checkpoint} by its hub id."
        )
    return Wanted(name, entry.checkpoint, entry.revision or revision)


def pull(model: Wanted, root: Storage, say: Say) -> Pull:
    """Bring a model's files below a root, check them, and write their manifest last.

    What is there already does not come again: nothing where the manifest is there, and after an interruption no file
    that is complete. One file at a time lies in the cache folder of this machine, and none is held in memory.

    Raises:
        ConfigurationError: Where the hub does not give the files, or one does not fit into the cache folder.
        CheckpointError: Where there are none that an engine may read, or a file is not what the hub states.
        StorageError: Where the root cannot be written.
    """
    if model.revision is not None and (there := _finished(model.checkpoint, model.revision, root)) is not None:
        return there  # a commit never changes: there is nothing to ask the hub
    found = look_up(model.checkpoint, model.revision)
    if model.revision is None:
        say(f"{model.name}: no revision is pinned or given; the hub's head is commit {found.commit}")
    with _staging(found.checkpoint) as staging:
        if (there := _finished(found.checkpoint, found.commit, root)) is not None:
            return there
        folder = _folder(found.checkpoint, found.commit, root)
        files, transferred = [], 0
        for number, file in enumerate(found.files, start=1):
            sha256 = _sha256_there(file, folder)
            if sha256 is None:
                say(f"  {number}/{len(found.files)}  {file.path}  {file.size / 1e6:,.1f} MB")
                check_room(staging.parent, file.size, f"{found.checkpoint}, {file.path}")
                sha256 = _store(found.fetch(file, staging), file, folder)
                transferred += 1
            files.append(WeightFile(path=file.path, size=file.size, sha256=sha256))
        weights = _manifest(found, files)
        with _writing(folder, WEIGHTS_MANIFEST):
            folder.write(WEIGHTS_MANIFEST, weights.model_dump_json(indent=1).encode())
    return Pull(weights, folder.uri, transferred)


def _manifest(model: HubModel, files: list[WeightFile]) -> PulledWeights:
    return PulledWeights(
        checkpoint=model.checkpoint,
        revision=model.commit,
        licence=model.licence,
        files=tuple(sorted(files, key=lambda file: file.path)),
        digest=combined_digest({file.path: file.sha256 for file in files}),
        pulled_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@contextmanager
def _staging(checkpoint: str) -> Iterator[Path]:
    """Give a folder for files on their way; a second pull of the checkpoint on this machine waits for the first."""
    folder = cache_folder() / "pulls" / checkpoint.replace("/", "--")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock")):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _folder(checkpoint: str, commit: str, root: Storage) -> Storage:
    return open_storage(f"{root.uri}/{checkpoint}/{commit}")


def _finished(checkpoint: str, commit: str, root: Storage) -> Pull | None:
    """Return the pull that is there already; None where there is none, or files of it are gone."""
    folder = _folder(checkpoint, commit, root)
    try:
        return Pull(read_weights(folder), folder.uri, transferred=0)
    except CheckpointError:
        return None


def _sha256_there(file: HubFile, folder: Storage) -> str | None:
    """Return the sha256 of a file that an interrupted pull has brought; None where it has to come."""
    if not folder.exists(file.path):
        return None
    with folder.open_input(file.path) as source:
        try:
            return file.copy(source)
        except CheckpointError:
            return None


def _store(staged: Path, file: HubFile, folder: Storage) -> str:
    """Move a fetched file into the folder unless it is not what the hub states; return its sha256."""
    with _writing(folder, file.path), staged.open("rb") as source, folder.open_output(file.path) as output:
        sha256 = file.copy(source, output)
    staged.unlink()
    if not is_remote(folder.uri):  # a run on this machine then need not read the file again for its digest
        remember_sha256(Path(folder.uri) / file.path, sha256)
    return sha256


@contextmanager
def _writing(folder: Storage, path: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"cannot write {folder.uri}/{path}: {error.strerror or error}. Name an --output with room that you may "
            f"write to; the same command goes on where this one stopped."
        ) from error
