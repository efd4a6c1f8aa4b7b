"""Adapters in a run's storage: trained weights as safetensors, and the card that says what they are.

``<root>/adapters/<name>/card.json`` is written last and once, so that its presence proves the rest: the files that it
names, in a folder that is called after their digest. Of two processes that store an adapter at once the first to write
the card wins, and the files of the other one, which may differ, stand elsewhere. The name holds a digest of all that
shapes the weights, so that what exists is used again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmsoc_ray.data import LocalStorage, Storage
from mmsoc_ray.engines.adapters import LORA_CONFIG, LORA_WEIGHTS
from mmsoc_ray.errors import ConfigurationError, unknown_name
from mmsoc_ray.models.cache import cache_folder, cached_folder
from mmsoc_ray.models.digests import combined_digest, json_digest, remembered_sha256
from mmsoc_ray.models.packaged import CheckpointError, file_sha256

ADAPTERS = "adapters"
CARD = "card.json"
CARD_VERSION = 2
"""In version 1 the files stood beside the card."""
DIGITS = 16
"""So much of an adapter's digest names the folder of its files."""
TRAINED_WEIGHTS = "trained.safetensors"
"""Of ``full`` and ``projector``: the trained tensors alone, by the name of the parameter."""

_FILES = frozenset((LORA_WEIGHTS, LORA_CONFIG, TRAINED_WEIGHTS))
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_SERVABLE = frozenset(("lora", "rslora", "lora_plus", "pissa"))


class CurvePoint(BaseModel):
    """What was measured at a step.

    Attributes:
        step: Optimiser steps taken.
        loss: Mean loss of an answer token over the steps since the point before, in nats.
        learning_rate: Of the step.
        samples_per_s: Samples trained on per second since the point before, over all workers.
        validation_loss: Mean loss of an answer token of the validation posts, where they were asked at this step.
        validation: Metric to value over the validation posts, ``<dataset>/<task>/<metric>``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    samples_per_s: float | None = None
    validation_loss: float | None = None
    validation: dict[str, float] = {}


class AdapterCard(BaseModel):
    """What an adapter is and how it came to be.

    Attributes:
        version: Of the layout.
        name: Its folder below ``adapters/``.
        model: Registry name of the model that it was trained on.
        method: ``lora``, ``rslora``, ``dora``, ``pissa``, ``lora_plus``, ``full`` or ``projector``.
        rank: Rank of the LoRA matrices as they are stored; None for ``full`` and ``projector``.
        alpha: Numerator of their scale, as stored.
        digest: SHA-256 over its files; enters the keys of answers.
        base_digest: Digest of the checkpoint that it belongs to.
        data_digest: Digest of what it was trained on.
        recipe: Content of the recipe that enters the name.
        recipe_name: Name of the recipe.
        code_version: Versions of this package and of the libraries that trained it.
        samples: Samples of one epoch.
        left_out: Why to how many: samples that were not trained on.
        steps: Optimiser steps taken.
        epochs: Epochs that they make.
        best_step: Step whose weights these are.
        curves: Loss and validation on the way.
        created_at: UTC, ISO 8601.
        files: File to its SHA-256.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = CARD_VERSION
    name: str = Field(pattern=rf"^{_NAME.pattern}$")
    model: str
    method: str
    rank: int | None
    alpha: float | None
    digest: str
    base_digest: str
    data_digest: str
    recipe: dict[str, Any]
    recipe_name: str
    code_version: dict[str, str]
    samples: int
    left_out: dict[str, int]
    steps: int
    epochs: float
    best_step: int
    curves: tuple[CurvePoint, ...]
    created_at: str
    files: dict[str, str]

    @property
    def servable(self) -> bool:
        """Whether an engine can serve it beside its base; the others are merged into a checkpoint first."""
        return self.method in _SERVABLE

    @property
    def folder(self) -> str:
        """Folder of its files below the root."""
        folder = adapter_folder(self.name)
        return folder if self.version == 1 else f"{folder}/{self.digest[:DIGITS]}"


def adapter_name(
    recipe_name: str, recipe: Mapping[str, Any], *, base_digest: str, data_digest: str, sample_format: int
) -> str:
    """Return the name under which an adapter is stored and found: the recipe's, and a digest of all that shapes it.

    Args:
        recipe_name: Name of the recipe, for people; it does not enter the digest.
        recipe: What of the recipe shapes the weights (``Recipe.content()``), as JSON.
        base_digest: Digest of the base checkpoint.
        data_digest: Digest of splits, tasks, prompts and explanations.
        sample_format: Version of the code that turns posts into tokens.
    """
    parts = {"recipe": recipe, "base": base_digest, "data": data_digest, "sample_format": sample_format}
    digest = json_digest(parts)
    return f"{recipe_name}-{digest[:12]}"


def adapter_folder(name: str) -> str:
    """Return the folder of an adapter below the root.

    Raises:
        ConfigurationError: The name would lead out of it.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"adapter {name!r}: a name has letters, digits, '.', '_' and '-' only")
    return f"{ADAPTERS}/{name}"


def read_card(root: Storage, name: str) -> AdapterCard | None:
    """Return an adapter's card; None where there is no such adapter, or it is not finished.

    Raises:
        ConfigurationError: The card cannot be read, or names files that no adapter has.
    """
    path = f"{adapter_folder(name)}/{CARD}"
    if not root.exists(path):
        return None
    remedy = f"Remove {root.uri}/{adapter_folder(name)} and train the adapter again."
    try:
        card = AdapterCard.model_validate_json(root.read(path))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}".strip() for one in error.errors()[:3])
        raise ConfigurationError(f"{root.uri}/{path} is no card of this version ({said}). {remedy}") from error
    if card.name != name or not card.files or card.files.keys() - _FILES or card.digest != combined_digest(card.files):
        raise ConfigurationError(f"{root.uri}/{path}: name, files and digest do not fit together. {remedy}")
    return card


def list_adapters(root: Storage) -> list[AdapterCard]:
    """Return the cards of all finished adapters, by name.

    Raises:
        ConfigurationError: As ``read_card``.
    """
    cards = (read_card(root, name) for name in root.list_folders(ADAPTERS))
    return [card for card in cards if card is not None]


def find_card(root: Storage, name: str) -> AdapterCard:
    """Return the card of an adapter that has to be there.

    Raises:
        ConfigurationError: There is none of this name; the message names those that there are.
    """
    card = read_card(root, name)
    if card is None:
        raise unknown_name("adapter", name, [one.name for one in list_adapters(root)], where=f"{root.uri}/{ADAPTERS}")
    return card


def fetch_adapter(root: Storage, card: AdapterCard) -> Path:
    """Return a local folder with an adapter's files, each checked against the card.

    Local storage is read where it is; from elsewhere the files come into the cache folder, once.

    Raises:
        CheckpointError: A file is not what the card says.
    """
    if isinstance(root, LocalStorage):
        folder = root.root / card.folder
        _check_files(folder, card, root)
        return folder

    def fetch(folder: Path) -> None:
        for file in card.files:
            root.download(f"{card.folder}/{file}", folder / file)
        _check_files(folder, card, root)

    return cached_folder(cache_folder() / ADAPTERS / f"{card.name}-{card.digest[:DIGITS]}", fetch)


def write_adapter(root: Storage, card: AdapterCard, files: Path) -> AdapterCard:
    """Store an adapter: its files, then its card. One that is there already stays, and then these files go.

    Args:
        root: Where adapters are kept.
        card: The card.
        files: Local folder that holds what ``card.files`` names.

    Returns:
        The card that stands there.
    """
    if (present := read_card(root, card.name)) is not None:
        return present
    for file in sorted(card.files):
        with (files / file).open("rb") as source, root.open_output(f"{card.folder}/{file}") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    root.write_once(f"{adapter_folder(card.name)}/{CARD}", (card.model_dump_json(indent=1) + "\n").encode())
    stored = find_card(root, card.name)
    if stored.folder != card.folder:  # another process was first, with other files
        for file in card.files:
            root.delete(f"{card.folder}/{file}")
    return stored


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of an adapter in a local folder."""
    return {file.name: file_sha256(file) for file in sorted(folder.iterdir()) if file.name in _FILES}


def check_base(card: AdapterCard, base_digest: str, *, model: str) -> None:
    """Refuse an adapter that was trained on another checkpoint than the one that is to answer.

    Raises:
        ConfigurationError: Naming both.
    """
    if card.base_digest != base_digest:
        raise ConfigurationError(
            f"adapter {card.name!r} was trained on {card.model!r} with digest {card.base_digest[:12]}…, and the "
            f"checkpoint of model {model!r} has {base_digest[:12]}…: it fits that checkpoint only. Train it again."
        )


def _check_files(folder: Path, card: AdapterCard, root: Storage) -> None:
    for name, expected in card.files.items():
        file = folder / name
        found = remembered_sha256(file) if file.is_file() else None
        if found != expected:
            said = "is missing" if found is None else f"has sha256 {found}, its card says {expected}"
            raise CheckpointError(
                f"{root.uri}/{card.folder}/{name} {said}. Remove {root.uri}/{adapter_folder(card.name)} and train the "
                f"adapter again."
            )
