"""Entries for models that the registry does not know: a checkpoint folder, or a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmsoc_ray.data import open_storage
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.answerable import answerable, can_answer
from mmsoc_ray.models.entry import ModelEntry
from mmsoc_ray.models.families import PUBLISHED
from mmsoc_ray.models.weights import checkpoint_address

WITH_PICTURES = ("zero_shot", "text_only", "image_only", "with_ocr")
TEXT_ONLY = ("text_only", "with_ocr")


def own_entry(name: str, checkpoint: str, *, settings: tuple[str, ...] | None = None) -> ModelEntry:
    """Return an entry for a checkpoint folder, local or pulled to ``s3://``, read off its ``config.json``.

    A configuration with a part for vision sees pictures, and several in one prompt where a registered model of its
    architecture does. The number of parameters is not known here and shows as 0 unless the grid states it.

    Raises:
        ConfigurationError: Where the folder has no readable ``config.json``, or a setting needs pictures that the model
            cannot see.
    """
    address = checkpoint_address(checkpoint)
    try:
        config = json.loads(open_storage(address).read("config.json"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"models.{name}.checkpoint: {address}/config.json cannot be read ({error}). Name the folder of a "
            f"checkpoint that transformers saved."
        ) from error
    sees_pictures = any(key in config for key in ("vision_config", "vision_tower", "visual"))
    entry = ModelEntry(
        name=name,
        family=name,
        parameters_b=0.0,
        engine="transformers",
        checkpoint=address,
        sees_pictures=sees_pictures,
        several_pictures=_several_pictures(config) if sees_pictures else "",
        settings=WITH_PICTURES if sees_pictures else TEXT_ONLY,
        source=f"checkpoint folder {address.rpartition('/')[2]}",
    )
    for setting in settings or ():
        if not can_answer(entry, setting):
            raise ConfigurationError(
                f"models.{name}.settings: the checkpoint {address} ({config.get('model_type', 'unknown type')}) cannot "
                f"answer in {setting!r}. Allowed: {', '.join(answerable(entry))}."
            )
    return entry


def _several_pictures(config: Mapping[str, Any]) -> str:
    architectures = config.get("architectures") or ()
    return next((e.several_pictures for e in PUBLISHED if e.architecture and e.architecture in architectures), "")


def served_entry(name: str) -> ModelEntry:
    """Return an entry for a model that a server answers for; it is taken to see pictures."""
    return ModelEntry(
        name=name,
        family=name,
        parameters_b=0.0,
        engine="endpoint",
        sees_pictures=True,
        settings=WITH_PICTURES,
        source="a server of the user",
    )
