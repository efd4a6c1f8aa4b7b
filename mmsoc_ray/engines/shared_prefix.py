"""What several requests begin with is computed once.

The requests of one post share frame, picture and text, which come before the question. Requests with the same example
pictures share those, over all posts that are answered together; their own pictures come after.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from mmsoc_ray.engines.encoded import EncodedRequest, pad_left

MIN_PREFIX_TOKENS = 16
"""A shorter prefix is not worth a pass of its own."""

_FIXED_ROTARY = frozenset({"default", "linear", "llama3", "yarn"})
"""Rotary embeddings whose angles do not depend on how long the pass is that computes them."""


@dataclass(frozen=True)
class Family:
    """Requests whose prompts begin with the same tokens and the same pictures.

    Attributes:
        requests: At least two.
        prefix_tokens: Length of the common prefix of the whole prompts' tokens; every prompt is longer.
        prefix_pictures: So many of a prompt's pictures lie in the prefix.
    """

    requests: tuple[EncodedRequest, ...]
    prefix_tokens: int
    prefix_pictures: int


def find_families(
    requests: Sequence[EncodedRequest], image_token_id: int | None
) -> tuple[list[Family], list[EncodedRequest]]:
    """Split requests into families and those that share nothing worth a pass of its own.

    Requests of different adapters, and those that show the picture and those that do not, are kept apart, and a picture
    has to lie in the prefix or behind it as a whole. Within that, a post's requests, or those of all posts with the
    same example pictures, fall into the families that save most tokens.

    Args:
        requests: Of any number of posts, in order.
        image_token_id: Stands for the picture in the prompt.
    """
    groups: dict[Any, list[EncodedRequest]] = {}
    for request in requests:
        groups.setdefault((request.examples or request.post_index, request.kind), []).append(request)
    families: list[Family] = []
    alone: list[EncodedRequest] = []
    for members in groups.values():
        prompts = [_shareable(request, image_token_id) for request in members]
        for places, prefix in split_by_prefix(prompts):
            first = members[places[0]]
            pictures = len(first.examples) or len(first.picture_features)
            tokens = sum(len(features) for features in first.picture_features[:pictures])
            torn = sum(token == image_token_id for token in first.token_ids[:prefix]) != tokens
            plain = all(members[place].is_plain for place in places)
            if plain and len(places) > 1 and prefix >= MIN_PREFIX_TOKENS and not torn:
                families.append(Family(tuple(members[place] for place in places), prefix, pictures))
            else:
                alone.extend(members[place] for place in places)
    return families, alone


def _shareable(request: EncodedRequest, image_token_id: int | None) -> list[int]:
    """Return a prompt's tokens as far as others can share them: behind examples up to the post's own picture."""
    ids = request.token_ids
    if not request.examples or not request.picture_features:
        return ids
    own = len(request.picture_features[-1])
    places = [place for place, token in enumerate(ids) if token == image_token_id]
    return ids[: places[-own] + 1]


def split_by_prefix(prompts: Sequence[Sequence[int]]) -> list[tuple[list[int], int]]:
    """Split prompts so that computing each group's common prefix once saves the most tokens.

    In lexicographic order prompts with a long common prefix are neighbours, so the best groups are runs of it; the
    best way to cut it into runs is found by dynamic programming over their ends.

    Returns:
        Positions of each group, ascending, and the length of its common prefix, which leaves every prompt of a group
        of several at least one token.
    """
    order = sorted(range(len(prompts)), key=lambda place: list(prompts[place]))
    common = [common_prefix(prompts[one], prompts[other]) for one, other in itertools.pairwise(order)]
    # Best saving over the first so many prompts, the start of the last run, and that run's prefix.
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for end in range(1, len(order) + 1):
        prefix = len(prompts[order[end - 1]])
        choice = (best[end - 1][0], end - 1, prefix)
        for start in range(end - 2, -1, -1):
            prefix = min(prefix, common[start])
            choice = max(choice, (best[start][0] + prefix * (end - 1 - start), start, prefix))
        best.append(choice)
    groups: list[tuple[list[int], int]] = []
    end = len(order)
    while end:
        _, start, prefix = best[end]
        groups.append((sorted(order[start:end]), prefix))
        end = start
    return sorted(groups)


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two prompts begin with, at least one less than the shorter has."""
    shorter = min(len(one), len(other)) - 1
    return next((place for place in range(shorter) if one[place] != other[place]), max(shorter, 0))


def can_share(model: Any) -> bool:
    """Whether a model continues a prefix of another row exactly: full attention in all layers, fixed rotary positions.

    Sliding windows, recurrent states, learned or linear position biases and multi-axis positions do not qualify; such
    models run every prompt whole.
    """
    text = model.config.get_text_config(decoder=True)
    rotary = getattr(text, "rope_parameters", None) or {}
    has_axes = hasattr(model.base_model, "get_rope_index")
    if model.config.is_encoder_decoder or has_axes or rotary.get("rope_type") not in _FIXED_ROTARY:
        return False
    layers = transformers.DynamicCache(config=text).layers
    return all(type(layer) is transformers.cache_utils.DynamicLayer for layer in layers)


def prefix_inputs(families: Sequence[Family], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Return ids and mask of the families' prefixes, a row each, padded on the left."""
    width = max(family.prefix_tokens for family in families)
    rows = [family.requests[0].token_inputs["input_ids"][:, : family.prefix_tokens] for family in families]
    return {
        "input_ids": torch.cat([pad_left(row, width, pad_token_id) for row in rows]),
        "attention_mask": torch.cat([pad_left(torch.ones_like(row), width, 0) for row in rows]),
    }


def continued_inputs(
    prefixes: dict[str, torch.Tensor],
    rows: Sequence[int],
    suffixes: Sequence[torch.Tensor],
    pad_token_id: int,
) -> dict[str, torch.Tensor]:
    """Return ids and mask of whole prompts: prefix as it was computed, padding, suffix.

    Args:
        prefixes: What ``prefix_inputs`` gave.
        rows: Row of each prompt's prefix.
        suffixes: The rest of each prompt, shape (1, tokens).
        pad_token_id: Fills the gap; the mask leaves it out, and positions are counted over the mask.
    """
    width = max(suffix.shape[1] for suffix in suffixes)
    index = list(rows)
    ids = torch.cat([pad_left(suffix, width, pad_token_id) for suffix in suffixes])
    mask = torch.cat([pad_left(torch.ones_like(suffix), width, 0) for suffix in suffixes])
    return {
        "input_ids": torch.cat([prefixes["input_ids"][index], ids], dim=1),
        "attention_mask": torch.cat([prefixes["attention_mask"][index], mask], dim=1),
    }
