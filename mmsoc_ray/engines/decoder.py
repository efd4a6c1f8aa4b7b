"""Decoding of a batch, token by token, whose answers have limits of their own and end at different times.

``generate`` of the library carries every row to the end of the longest answer and copies all keys and values for each
token. Here a row leaves when its answer has ended, and keys and values grow in place: the same tokens for less work.
For the architectures that ``shared_prefix.can_share`` admits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers.cache_utils import DynamicLayer

from mmsoc_ray.engines.sampling import choose_tokens
from mmsoc_ray.models.entry import Decoding

KEPT = 7 / 8
"""Rows whose answers have ended are dropped once no more than this share goes on: dropping copies the others."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer with room behind them, so that a further token copies none of those before it."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, rows: torch.Tensor, room: int) -> None:
        """Copy the given rows of keys and values with room for more tokens.

        Args:
            keys: Shape (rows, heads, tokens, channels).
            values: The same.
            rows: Which of them, in order; they may repeat.
            room: For how many tokens more.
        """
        super().__init__()
        self.lazy_initialization(keys, values)
        self._held = keys.shape[-2]
        self._stores = _with_room(keys, rows, room), _with_room(values, rows, room)
        self._show()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add tokens and return all keys and values, as the library's layers do."""
        start, self._held = self._held, self._held + key_states.shape[-2]
        for store, states in zip(self._stores, (key_states, value_states), strict=True):
            store[:, :, start : self._held] = states
        self._show()
        return self.keys, self.values

    def _show(self) -> None:
        self.keys, self.values = (store[:, :, : self._held] for store in self._stores)


def _with_room(states: torch.Tensor, rows: torch.Tensor, room: int) -> torch.Tensor:
    _, heads, tokens, channels = states.shape
    store = states.new_empty(len(rows), heads, tokens + room, channels)
    torch.index_select(states, 0, rows, out=store[:, :, :tokens])  # one copy, where states[rows] would be a second
    return store


def select_rows(cache: Any, rows: Sequence[int], room: int) -> Any:
    """Return a new cache of the given rows, which may repeat, with room for more tokens; the old one stays as it is."""
    selected: Any = transformers.DynamicCache()
    index = _index(cache, rows)
    selected.layers = [RoomyLayer(layer.keys, layer.values, index, room) for layer in cache.layers]
    return selected


def keep_rows(cache: Any, rows: Sequence[int], room: int) -> None:
    """Drop all other rows of a cache, layer by layer, so that no second copy of it is held."""
    index = _index(cache, rows)
    for place, layer in enumerate(cache.layers):
        cache.layers[place] = RoomyLayer(layer.keys, layer.values, index, room)


def _index(cache: Any, rows: Sequence[int]) -> torch.Tensor:
    return torch.tensor(rows, device=cache.layers[0].keys.device)


def token_bytes(cache: Any) -> int:
    """Return how many bytes a cache holds for each token of a row."""
    return sum(states[0, :, :1].nbytes for layer in cache.layers for states in (layer.keys, layer.values))


@dataclass(frozen=True)
class Prompts:
    """Prompts whose keys and values are computed.

    Attributes:
        inputs: ``input_ids``, ``attention_mask`` and ``past_key_values`` of the whole prompts, a row each.
        logits: What the model says comes next, shape (rows, vocabulary).
    """

    inputs: Mapping[str, Any]
    logits: torch.Tensor


class Decoder:
    """Computes prompts and continues each with the likeliest tokens, or with sampled ones."""

    def __init__(self, model: Any, end_token_ids: frozenset[int], decoding: Decoding) -> None:
        """Take a model, the tokens of which any ends an answer, and how tokens are chosen from its logits."""
        self._model = model
        self._ends = end_token_ids
        self._decoding = decoding
        self._options: dict[str, Any] = {"use_cache": True, "return_dict": True}
        if model._supports_logits_to_keep():
            self._options["logits_to_keep"] = 1

    def compute(self, inputs: Mapping[str, Any], pictures: Mapping[str, Any], past: Any = None) -> Prompts:
        """Compute prompts.

        Args:
            inputs: ``input_ids`` and ``attention_mask`` of the whole prompts, padded anywhere but at their ends.
            pictures: What gives the model the features of the pictures in the part that is not computed yet.
            past: Keys and values of the first tokens, where they are computed already; they are added to.
        """
        mask = inputs["attention_mask"]
        cache = transformers.DynamicCache() if past is None else past
        known = cache.get_seq_length()
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        logits = self._forward(inputs["input_ids"][:, known:], mask, positions[:, known:], cache, pictures)
        return Prompts({**inputs, "past_key_values": cache}, logits)

    def answer(self, prompts: Prompts, limits: Sequence[int], seeds: Sequence[int]) -> list[list[int]]:
        """Return the tokens of each row's answer, with the one that ended it, at most as many as its limit.

        Args:
            prompts: The prompts, computed; what they hold may be changed.
            limits: For each row, after how many new tokens it is cut.
            seeds: For each row its request's seed, see ``request_seed``.
        """
        said: list[list[int]] = [[] for _ in limits]
        rows = list(range(len(limits)))
        mask, cache, logits = prompts.inputs["attention_mask"], prompts.inputs["past_key_values"], prompts.logits
        step = 0
        while True:
            chosen = choose_tokens(logits, self._decoding, [seeds[row] for row in rows], step)
            going = []
            for place, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
                if self._goes_on(said[row], limits[row]):
                    said[row].append(token)
                    if self._goes_on(said[row], limits[row]):
                        going.append(place)
            if not going:
                return said
            if len(going) <= KEPT * len(rows):
                rows = [rows[place] for place in going]
                room = max(limits[row] - len(said[row]) for row in rows)
                keep_rows(cache, going, room)
                mask, chosen = mask[going], chosen[going]
            step += 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            logits = self._forward(chosen[:, None], mask, mask.sum(dim=1, keepdim=True) - 1, cache, {})

    def _goes_on(self, said: Sequence[int], limit: int) -> bool:
        return len(said) < limit and not (said and said[-1] in self._ends)

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any, pictures: Mapping[str, Any]
    ) -> torch.Tensor:
        outputs = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            **pictures,
            **self._options,
        )
        logits: torch.Tensor = outputs.logits[:, -1]
        return logits
