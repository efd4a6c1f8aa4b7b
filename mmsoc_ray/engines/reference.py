"""The reference of ``agreement``: the transformers library in single precision, one request at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from mmsoc_ray.engines.protocol import Answer, PreparedPost, Request
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models.entry import ModelEntry


class TransformersReference:
    """Computes margins with a checkpoint in float32; see ``agreement.Reference``.

    Margins are those of greedy decoding: of a beam search or with a repetition penalty they would say nothing.
    """

    def __init__(
        self, checkpoint: Path, entry: ModelEntry, *, threads: int | None = None, device: str | None = None
    ) -> None:
        """Load the checkpoint in float32.

        Raises:
            ConfigurationError: As ``TransformersEngine``.
        """
        entry = dataclasses.replace(entry, engine="transformers", dtype="float32")
        self._engine = TransformersEngine(checkpoint, entry, threads=threads, device=device)

    def tokens(self, answer: Answer) -> Sequence[int]:
        """Return the tokens that were generated; where only the text is known, those that the tokenizer makes of it.

        The tokenizer can split a text otherwise than it was generated: then the place is near the one meant.
        """
        if answer.token_ids or answer.output is None:
            return answer.token_ids
        return self._engine.tokens_of(answer.output, ended=answer.finish_reason == "stop")

    def spell(self, token: int) -> str:
        """Return a token as text, a control token by its name."""
        return self._engine.spell(token)

    def margin(self, post: PreparedPost, request: Request, said: Sequence[int], candidates: Sequence[int]) -> float:
        """Return by how much the least likely candidate is less likely than the likeliest token."""
        found = self.log_probabilities(post, request, said)
        return float(found.max() - found[list(candidates)].min())

    def log_probabilities(self, post: PreparedPost, request: Request, said: Sequence[int]) -> torch.Tensor:
        """Return the log-probability of each token as the next one, shape (vocabulary,).

        Raises:
            PromptError, ValueError: The request cannot be asked.
        """
        return self._engine.next_token(dataclasses.replace(post, requests=(request,)), said)
