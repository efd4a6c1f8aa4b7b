"""From a registry entry to a folder that transformers can load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmsoc_ray.data import open_storage
from mmsoc_ray.models.cache import cache_folder, cached_folder
from mmsoc_ray.models.digests import WEIGHTS_MANIFEST, json_digest, noted_digest
from mmsoc_ray.models.entry import ModelEntry
from mmsoc_ray.models.packaged import DINOV2_ONNX, SMOLLM2_GGUF, CheckpointError, PackagedFile, file_sha256
from mmsoc_ray.models.weights import fetch_weights, is_remote, planned_digest, read_weights

_HERE = Path(__file__).parent
_DEMO = "demo:"


@dataclass(frozen=True)
class _Recipe:
    """How a checkpoint is made from packages.

    Attributes:
        sources: Packaged weights that enter.
        files: Files of this package that shape the result: converters and weights of our own.
        make: Fills an empty folder.
    """

    sources: tuple[PackagedFile, ...]
    files: tuple[str, ...]
    make: Callable[[Path], None]

    def digest(self) -> str:
        """Return what the result depends on: a new converter, projector or source gives a new folder."""
        parts = {
            "sources": [source.sha256 for source in self.sources],
            "files": {name: file_sha256(_HERE / name) for name in self.files if (_HERE / name).is_file()},
        }
        return json_digest(parts)[:16]


def _save_smollm2(folder: Path) -> None:
    from mmsoc_ray.models.smollm2 import save_smollm2

    save_smollm2(folder)


def _save_demo_llava(folder: Path) -> None:
    from mmsoc_ray.models.demo_llava import save_demo_llava

    save_demo_llava(folder, language_folder=demo_checkpoint("smollm2-135m"))


_RECIPES = {
    "smollm2-135m": _Recipe((SMOLLM2_GGUF,), ("smollm2.py",), _save_smollm2),
    "llava": _Recipe(
        (SMOLLM2_GGUF, DINOV2_ONNX),
        ("smollm2.py", "dinov2.py", "demo_llava.py", "demo_projector.safetensors"),
        _save_demo_llava,
    ),
}


def resolve_checkpoint(entry: ModelEntry, *, readers_only: bool = False) -> Path:
    """Return the folder of a model's weights, tokenizer and processor.

    With ``readers_only``, weights of ``s3://`` may be missing in it: it serves to read prompts.

    A folder stays itself. Pulled weights of ``s3://`` are fetched at the first call. ``demo:<name>`` is converted from
    installed packages at the first call (10 to 60 s). Both are kept in the cache folder (``$MMSOC_CACHE``, else
    ``$XDG_CACHE_HOME/mmsoc_ray``, else ``~/.cache/mmsoc_ray``). Nothing is ever fetched from a hub.

    Raises:
        CheckpointError: When the entry has no checkpoint, the folder is missing or incomplete, or a package is missing.
    """
    if not entry.checkpoint:
        raise CheckpointError(f"model {entry.name!r} has no checkpoint: engine {entry.engine!r} needs no weights")
    if entry.checkpoint.startswith(_DEMO):
        return demo_checkpoint(entry.checkpoint.removeprefix(_DEMO))
    if is_remote(entry.checkpoint):
        return fetch_weights(open_storage(entry.checkpoint), readers_only=readers_only)
    folder = Path(entry.checkpoint).expanduser()
    if not folder.is_dir():
        raise CheckpointError(
            f"model {entry.name!r}: checkpoint {entry.checkpoint!r} is not a folder; fetch the checkpoint first "
            f"('mmsoc models pull {entry.name} --output ROOT', then 'weights: ROOT' in the grid), or name the folder "
            f"that holds its config.json"
        )
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"model {entry.name!r}: {folder} holds no config.json; name the folder that 'save_pretrained' wrote"
        )
    return folder


def checkpoint_digest(entry: ModelEntry) -> str:
    """Return the digest of a model's checkpoint; of pulled weights it is read off their manifest, and none are fetched.

    Raises:
        CheckpointError: As ``resolve_checkpoint``.
    """
    if is_remote(entry.checkpoint):
        return read_weights(open_storage(entry.checkpoint)).digest
    return planned_digest(resolve_checkpoint(entry))


def known_digest(entry: ModelEntry) -> str | None:
    """Return the digest of a model's checkpoint where it is known already; None where weights would have to be read."""
    try:
        if is_remote(entry.checkpoint) or (Path(entry.checkpoint) / WEIGHTS_MANIFEST).is_file():
            return checkpoint_digest(entry)
        if entry.checkpoint.startswith(_DEMO):
            return noted_digest(_demo_folder(entry.checkpoint.removeprefix(_DEMO)))
        return noted_digest(Path(entry.checkpoint).expanduser()) if entry.checkpoint else None
    except CheckpointError:
        return None


def demo_checkpoint(name: str) -> Path:
    """Return the folder of a checkpoint made from packages, converting it when it is not in the cache.

    Raises:
        CheckpointError: When the name is unknown or a package is missing.
    """
    return cached_folder(_demo_folder(name), _RECIPES[name].make)


def _demo_folder(name: str) -> Path:
    recipe = _RECIPES.get(name)
    if recipe is None:
        known = ", ".join(f"{_DEMO}{known}" for known in sorted(_RECIPES))
        raise CheckpointError(f"unknown checkpoint {_DEMO + name!r}; known: {known}")
    return cache_folder() / "checkpoints" / f"{name}-{recipe.digest()}"
