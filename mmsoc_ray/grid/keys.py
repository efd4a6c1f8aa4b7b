"""Keys: what makes two answers the same, and two configurations different."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: keys sorted, no spaces, ASCII."""
    return _CANONICAL.encode(value).encode()


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def row_key(
    answerer: Mapping[str, Any],
    *,
    task: str,
    prompt: str,
    image_sha256: str | None,
    max_new_tokens: int,
    labels: Mapping[str, str] | None = None,
    example_images: Sequence[str] = (),
    places: Sequence[int] = (),
    own_task: Mapping[str, Any] | None = None,
) -> str:
    """Return the content address of one answer.

    Two requests with the same key have the same answer, whatever post, unit, batch, order, machine or run they come
    from. A baseline answers by task, not by prompt alone, so the task takes part for it (``answerer`` holds its fit).

    Args:
        answerer: What answers: digests of model and adapter, engine, dtype, quantisation, prompt template,
            preprocessing and decoding parameters; for a baseline the digest of what it was fitted on, and its seed.
        task: Enters for baselines only.
        prompt: The rendered prompt.
        image_sha256: Digest of the picture that is shown, or None.
        max_new_tokens: Where the answer is cut.
        labels: Label to answer word where labels are scored; an answer without scores keeps the key that it had.
        example_images: Digests of the example pictures that are shown, in order.
        places: Where in the prompt all pictures stand; enters where example pictures are shown.
        own_task: Of a task of the user's own, what a baseline answers with. Enters for baselines only.
    """
    content = {
        "answerer": dict(answerer),
        "prompt": prompt,
        "image_sha256": image_sha256,
        "max_new_tokens": max_new_tokens,
    }
    if labels is not None:
        content["labels"] = dict(labels)
    if example_images:
        content["example_images"] = {"sha256": list(example_images), "places": list(places)}
    if "fit" in answerer:
        content["task"] = task
        if own_task:
            content["own_task"] = dict(own_task)
    return digest(content)


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return what differs between two JSON values, a line ``field: old -> new`` each, in order."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines: list[str] = []
        for key in sorted({*old, *new}, key=str):
            lines += differences(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}.{key}" if path else str(key))
        return lines
    if old == new:
        return []
    return [f"{path}: {_shown(old)} -> {_shown(new)}"]


_ABSENT = object()


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(absent)"
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 120 else text[:117] + "..."
