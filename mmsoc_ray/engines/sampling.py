"""Sampling into which no batch enters: the random numbers of an answer are a hash, not the state of a generator.

A token is drawn by the Gumbel-max trick (Gumbel 1954): the largest sum of log-probability and Gumbel noise is
distributed as the probabilities are. The noise of a token is a function of the request's seed, of the place in the
answer and of the token itself. Batches of other shapes change low bits of the logits: another token is drawn only where
two sums are as close as that. A single number held against cumulated probabilities would need fewer of them, but there
every low bit moves all tokens behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
import transformers

from mmsoc_ray.models.entry import Decoding

# SplitMix64 (Steele, Lea, Flood 2014): its increment and multipliers, as the signed numbers that torch has.
_INCREMENT = 0x9E3779B97F4A7C15 - 2**64
_MULTIPLIERS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64), (31, 1))
_BITS = 52
"""Of each random number: with half a step more, a double holds it exactly, and it is neither 0 nor 1."""


def choose_tokens(logits: torch.Tensor, decoding: Decoding, seeds: Sequence[int], place: int) -> torch.Tensor:
    """Return the next token of each row: the likeliest, or one that is drawn.

    Args:
        logits: What the model says comes next, shape (rows, vocabulary).
        decoding: How tokens are chosen.
        seeds: For each row its request's seed.
        place: Place of the token in the answers, from 0.

    Returns:
        Tokens, shape (rows,).
    """
    if not decoding.samples:
        return logits.argmax(dim=-1)
    # In double precision, and below 0: so small a temperature that it would overflow leaves the likeliest token.
    scores = logits.double()
    scores = (scores - scores.amax(dim=-1, keepdim=True)) / decoding.temperature
    return (_restrict(scores, decoding) + _noise(seeds, place, scores)).argmax(dim=-1)


class SampledTokens(transformers.LogitsProcessor):  # type: ignore[misc]
    """Draws each row's token, as ``choose_tokens``, and leaves the library's greedy search no other to choose."""

    def __init__(self, decoding: Decoding, seeds: Sequence[int]) -> None:
        """Take how tokens are drawn, and the seed of each row's request."""
        self._decoding = decoding
        self._seeds = seeds
        self._place = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores that bar all tokens but the drawn ones, shape (rows, vocabulary)."""
        tokens = choose_tokens(scores, self._decoding, self._seeds, self._place)
        self._place += 1
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


def _restrict(scores: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Bar what ``top_k``, then ``top_p`` leave out; of equally likely tokens the first comes before, as in greedy."""
    if not decoding.top_k and decoding.top_p == 1:
        return scores  # the order would cost more than all the rest
    ordered, tokens = scores.sort(dim=-1, descending=True, stable=True)
    if decoding.top_k:
        ordered[:, decoding.top_k :] = -torch.inf
    if decoding.top_p < 1:
        shares = ordered.softmax(dim=-1)
        likelier = shares.cumsum(dim=-1) - shares
        ordered[likelier >= decoding.top_p] = -torch.inf
    return torch.empty_like(scores).scatter_(1, tokens, ordered)


def _noise(seeds: Sequence[int], place: int, like: torch.Tensor) -> torch.Tensor:
    """Return Gumbel noise for each row and token; tokens of little probability need its double precision."""
    starts = [hashlib.sha256(f"{seed} {place}".encode()).digest()[:8] for seed in seeds]
    rows = torch.tensor([int.from_bytes(start, signed=True) for start in starts], device=like.device)
    bits = rows[:, None] + _INCREMENT * torch.arange(1, like.shape[1] + 1, device=like.device)
    for shift, multiplier in _MULTIPLIERS:
        bits.bitwise_xor_(_shifted(bits, shift)).mul_(multiplier)
    uniform = _shifted(bits, 64 - _BITS).double().add_(0.5).mul_(2.0**-_BITS)
    return uniform.log_().neg_().log_().neg_()


def _shifted(bits: torch.Tensor, places: int) -> torch.Tensor:
    """Shift to the right and fill up with zeros, where torch fills up with the sign."""
    return (bits >> places).bitwise_and_(2 ** (64 - places) - 1)
