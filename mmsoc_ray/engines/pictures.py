"""Pictures become features: each encoded once, several in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmsoc_ray.engines.batching import run_in_halves
from mmsoc_ray.engines.checkpoint import Checkpoint
from mmsoc_ray.engines.protocol import Picture, Request
from mmsoc_ray.engines.reading import Inputs

PICTURES_AT_ONCE = 16
"""So many pictures are encoded in one pass: enough to fill a processor, few beside a batch of prompts."""

Features = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class ReadRequest:
    """A request that is tokenised, with its pictures not encoded yet.

    Attributes:
        post_index: Position of the post in the call.
        request_index: Position of the request within its post.
        request: The request.
        picture: The post's picture, if any.
        token_inputs: Inputs along the tokens.
        picture_inputs: Pixel values and their sizes; empty where no picture is shown.
        label_tokens: Label to the tokens of its answer word, where labels are scored.
    """

    post_index: int
    request_index: int
    request: Request
    picture: Picture | None
    token_inputs: Inputs
    picture_inputs: Inputs
    label_tokens: dict[str, tuple[int, ...]] | None

    @property
    def shown(self) -> tuple[Picture, ...]:
        """The pictures that it shows, in order; none where the model is given none."""
        return (
            (*self.request.example_pictures, self.picture) if self.picture_inputs and self.picture is not None else ()
        )


@dataclass(frozen=True)
class _Wanted:
    """A picture to encode, or all of a request's where the inputs do not tell them apart."""

    pictures: tuple[Picture, ...]
    inputs: Inputs

    @property
    def key(self) -> tuple[int, ...]:
        return tuple(map(id, self.pictures))

    @property
    def shapes(self) -> tuple[Any, ...]:
        return tuple((name, tuple(x.shape), x.dtype) for name, x in sorted(self.inputs.items()))


class PictureEncoder:
    """Encodes pictures with a checkpoint; example pictures once for all posts."""

    def __init__(self, loaded: Checkpoint, to_device: Callable[[Inputs], Inputs], recover: Callable[..., None]) -> None:
        """Prepare a checkpoint's encoder.

        Args:
            loaded: The checkpoint.
            to_device: Brings inputs to its device and precision.
            recover: Called after a pass that failed.
        """
        self._loaded = loaded
        self._to_device = to_device
        self._recover = recover
        self._examples: dict[tuple[int, ...], tuple[_Wanted, Features]] = {}

    def encode(self, requests: Sequence[ReadRequest]) -> list[Features | Exception]:
        """Return the features of each request's pictures, in order, or why there are none.

        No features at all where the architecture is given pixels.
        """
        wanted = [self._wanted(request) for request in requests]
        # Kept with its pixels, so that no other picture gets their id.
        known: dict[tuple[int, ...], tuple[_Wanted, Features | Exception]] = {**self._examples}
        left = {one.key: one for of_request in wanted for one in of_request if one.key not in known}
        for batch in _batches(list(left.values())):
            found = run_in_halves(batch, self._pass, lambda _, error: error, self._recover)
            known.update((one.key, (one, features)) for one, features in zip(batch, found, strict=True))
        if not self._loaded.takes_encoded_pictures:
            return [()] * len(requests)
        for request in requests:
            for picture in request.request.example_pictures:
                one, features = known.get((id(picture),), (None, ()))
                if one is not None and not isinstance(features, Exception):
                    self._examples[one.key] = one, features
        return [_joined([known[one.key][1] for one in of_request]) for of_request in wanted]

    def _wanted(self, request: ReadRequest) -> list[_Wanted]:
        shown, inputs = request.shown, request.picture_inputs
        if not shown or not self._loaded.takes_encoded_pictures:
            return []
        if len(shown) > 1 and any(len(tensor) != len(shown) for tensor in inputs.values()):
            return [_Wanted(shown, inputs)]  # patches of all pictures along one axis
        if len(shown) == 1:
            return [_Wanted(shown, inputs)]
        return [
            _Wanted((pixels,), {name: x[place : place + 1] for name, x in inputs.items()})
            for place, pixels in enumerate(shown)
        ]

    @torch.inference_mode()
    def _pass(self, batch: Sequence[_Wanted]) -> list[Features | Exception]:
        """Encode several in one pass; nothing of any where this architecture cannot be given features."""
        if not self._loaded.takes_encoded_pictures:
            return [() for _ in batch]
        inputs = {name: torch.cat([one.inputs[name] for one in batch]) for name in batch[0].inputs}
        outputs = self._loaded.model.base_model.get_image_features(**self._to_device(inputs), return_dict=True)
        features: Any = outputs.pooler_output
        # Exactly one tensor for each picture, and nothing beside it that the language model would need.
        beside = set(outputs.keys()) - {"last_hidden_state", "pooler_output", "hidden_states", "attentions"}
        pictures = sum(len(one.pictures) for one in batch)
        if beside or not isinstance(features, list | tuple) or len(features) != pictures:
            self._loaded.takes_encoded_pictures = False
            return [() for _ in batch]
        rest = iter(features)
        return [tuple(next(rest) for _ in one.pictures) for one in batch]


def _batches(wanted: Sequence[_Wanted]) -> list[list[_Wanted]]:
    """Put single pictures of equal shapes together; a picture with several tiles, or several at once, stays alone."""
    groups: dict[Any, list[_Wanted]] = {}
    for place, one in enumerate(wanted):
        plain = len(one.pictures) == 1 and all(len(tensor) == 1 for tensor in one.inputs.values())
        groups.setdefault(one.shapes if plain else place, []).append(one)
    return [
        group[start : start + PICTURES_AT_ONCE]
        for group in groups.values()
        for start in range(0, len(group), PICTURES_AT_ONCE)
    ]


def _joined(parts: Sequence[Features | Exception]) -> Features | Exception:
    features: list[torch.Tensor] = []
    for part in parts:
        if isinstance(part, Exception):
            return part
        features += part
    return tuple(features)
