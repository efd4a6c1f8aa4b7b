"""A request as the model takes it, and how several become one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmsoc_ray.engines.batching import BatchSize

SECOND_PROMPT = "qformer_"
"""How the names of the inputs begin that InstructBLIP's Q-Former reads beside the language model's prompt."""


@dataclass(frozen=True)
class EncodedRequest:
    """A request as the model takes it; every tensor of the inputs has a leading axis of one.

    Attributes:
        post_index: Position of the post in the call.
        request_index: Position of the request within its post.
        max_new_tokens: Limit of the answer.
        token_inputs: Shape (1, tokens): ids, mask, token types; and those of a second prompt, with its own length.
        picture_inputs: Pixel values and their sizes; empty where the features say it all.
        picture_features: For each picture in order, shape (picture tokens, hidden), where they are encoded already.
        label_tokens: Label to the tokens of its answer word, where labels are scored.
        examples: What tells its example pictures from those of other requests; empty where it shows none.
        adapter: Name of the adapter that answers; empty for the base model.
        seed: Where its random numbers begin, if it is sampled: see ``request_seed``.
    """

    post_index: int
    request_index: int
    max_new_tokens: int
    token_inputs: dict[str, torch.Tensor]
    picture_inputs: dict[str, torch.Tensor]
    picture_features: tuple[torch.Tensor, ...]
    label_tokens: Mapping[str, tuple[int, ...]] | None = None
    examples: tuple[int, ...] = ()
    adapter: str = ""
    seed: int = 0

    @property
    def token_ids(self) -> list[int]:
        """The whole prompt, those of the picture included."""
        ids: list[int] = self.token_inputs["input_ids"][0].tolist()
        return ids

    @property
    def prompt_tokens(self) -> int:
        """Length of the whole prompt."""
        return int(self.token_inputs["input_ids"].shape[1])

    @property
    def is_plain(self) -> bool:
        """Whether ids, mask and features are all that the model is given."""
        return not self.picture_inputs and self.token_inputs.keys() == {"input_ids", "attention_mask"}

    @property
    def kind(self) -> tuple[Any, ...]:
        """What requests have in common that can be computed together: who answers, and the shapes of their pictures.

        Pictures of equal shapes can be stacked for every architecture, those of unequal shapes only for some.
        """
        inputs = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(self.picture_inputs.items()))
        return self.adapter, inputs, tuple(tuple(features.shape) for features in self.picture_features)

    def size(self, *, own_limit: bool) -> BatchSize:
        """Return what the request takes in a batch.

        Args:
            own_limit: Whether requests with other limits of their answers can share its batch.
        """
        group = self.kind if own_limit else (self.max_new_tokens, self.kind)
        return BatchSize(group, self.prompt_tokens, self.max_new_tokens)


def stack(requests: Sequence[EncodedRequest], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad prompts on the left to one length and put the pictures' tensors one after another.

    A Q-Former counts positions from the first token, whatever the mask says: its prompt is padded on the right.
    """
    stacked: dict[str, torch.Tensor] = {}
    for name in requests[0].token_inputs:
        rows = [request.token_inputs[name] for request in requests]
        width = max(row.shape[1] for row in rows)
        fill = pad_token_id if name == "input_ids" else 0
        pad = pad_right if name.startswith(SECOND_PROMPT) else pad_left
        stacked[name] = torch.cat([pad(row, width, fill) for row in rows])
    for name in requests[0].picture_inputs:
        stacked[name] = torch.cat([request.picture_inputs[name] for request in requests])
    return stacked


def pad_left(tokens: torch.Tensor, width: int, fill: int) -> torch.Tensor:
    """Fill rows of shape (rows, tokens) up on the left to (rows, width)."""
    return torch.nn.functional.pad(tokens, (width - tokens.shape[1], 0), value=fill)


def pad_right(tokens: torch.Tensor, width: int, fill: int) -> torch.Tensor:
    """Fill rows of shape (rows, tokens) up on the right to (rows, width)."""
    return torch.nn.functional.pad(tokens, (0, width - tokens.shape[1]), value=fill)
