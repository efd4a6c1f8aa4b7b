"""The projector while it learns, and the two losses that teach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmsoc_ray.training.packing import IGNORED, PackedBatch

_TEMPERATURE = 0.07  # of cosine similarities, as in CLIP's initialisation
_STOP_WORDS = frozenset(
    ("a", "an", "the", "and", "of", "in", "on", "with", "to", "at", "its", "that", "from", "under", "like", "behind")
)


class StandardisingProjector(nn.Module):
    """LLaVA's two-layer projector behind a fixed standardisation of its input.

    Without it a few large channels of the encoder would decide the first steps. It is folded into the first layer when
    the weights are saved, so that LLaVA's own projector computes the same.

    Args:
        mean: Mean of each feature, (vision_hidden,).
        std: Standard deviation of each feature, (vision_hidden,).
        text_hidden: Width of the language model.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: torch.Tensor, std: torch.Tensor, text_hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())
        self.linear_1 = nn.Linear(mean.shape[0], text_hidden)
        self.linear_2 = nn.Linear(text_hidden, text_hidden)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (..., vision_hidden) to (..., text_hidden)."""
        standardised = (features.float() - self.mean) / self.std
        projected: torch.Tensor = self.linear_2(nn.functional.gelu(self.linear_1(standardised)))
        return projected

    def folded(self) -> dict[str, torch.Tensor]:
        """Return the weights of an equal ``LlavaMultiModalProjector``."""
        with torch.no_grad():
            weight = self.linear_1.weight / self.std
            bias = self.linear_1.bias - weight @ self.mean
        return {
            "linear_1.weight": weight.clone(),
            "linear_1.bias": bias.clone(),
            "linear_2.weight": self.linear_2.weight.detach().clone(),
            "linear_2.bias": self.linear_2.bias.detach().clone(),
        }


def feature_statistics(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of each feature over pictures and tokens."""
    flat = features.flatten(0, 1).float()
    return flat.mean(dim=0), flat.std(dim=0).clamp_min(1e-6)


def answer_losses(
    model: Any, projector: StandardisingProjector, features: torch.Tensor, batch: PackedBatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed loss of each sequence's answer tokens, and their number; both (batch,).

    The language model's head is computed where an answer is predicted and nowhere else.

    Args:
        model: A LLaVA; its language model must be frozen.
        projector: What learns.
        features: What the encoder saw, (batch, picture tokens, vision_hidden).
        batch: Questions and answers.
    """
    embeddings = model.get_input_embeddings()(batch.input_ids)
    picture = (batch.input_ids == model.config.image_token_index).unsqueeze(-1)
    embeddings = embeddings.masked_scatter(picture, projector(features).to(embeddings.dtype))
    hidden = model.model.language_model(
        inputs_embeds=embeddings,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        use_cache=False,
    ).last_hidden_state
    scored = batch.labels[:, 1:] != IGNORED
    logits = model.lm_head(hidden[:, :-1][scored]).float()
    losses = nn.functional.cross_entropy(logits, batch.labels[:, 1:][scored], reduction="none")
    rows = scored.nonzero()[:, 0]
    sums = torch.zeros(len(scored)).index_add(0, rows, losses)
    return sums, scored.sum(dim=1)


@dataclass(frozen=True)
class WordTargets:
    """The tokens of words that describe pictures.

    Attributes:
        directions: Their embeddings, centred and of length one, (words, text_hidden).
        centre: Mean embedding, (text_hidden,).
        scale: Mean length of centred embeddings.
        index: Token id to row of ``directions``.
    """

    directions: torch.Tensor
    centre: torch.Tensor
    scale: float
    index: dict[int, int]

    @classmethod
    def collect(cls, token_sets: Sequence[Sequence[int]], embeddings: torch.Tensor) -> WordTargets:
        """Gather all tokens that occur."""
        ids = sorted({token for tokens in token_sets for token in tokens})
        centre = embeddings[ids].mean(dim=0)
        centred = embeddings[ids] - centre
        lengths = centred.norm(dim=1, keepdim=True)
        return cls(centred / lengths, centre, float(lengths.mean()), {token: row for row, token in enumerate(ids)})


def word_tokens(tokenizer: Any, words: Sequence[str]) -> tuple[int, ...]:
    """Return the tokens of the words that carry meaning, as they stand inside a sentence."""
    kept = [word.strip(",.") for text in words for word in text.split() if word.strip(",.") not in _STOP_WORDS]
    return tuple(
        sorted({token for word in kept for token in tokenizer(f" {word}", add_special_tokens=False).input_ids})
    )


def alignment_loss(projected: torch.Tensor, token_sets: Sequence[Sequence[int]], targets: WordTargets) -> torch.Tensor:
    """Ask that each word of a picture lies near the direction of at least one of its projected tokens.

    Needs no pass through the language model. The words of the whole collection compete with those of the picture. A
    second term keeps the length of projected tokens near that of real embeddings.

    Args:
        projected: (batch, picture tokens, text_hidden).
        token_sets: For each picture, its words' tokens.
        targets: All tokens.
    """
    centred = projected - targets.centre
    lengths = centred.norm(dim=-1, keepdim=True)
    similarity = (centred / lengths.clamp_min(1e-6)) @ targets.directions.T
    scores = (similarity / _TEMPERATURE).logsumexp(dim=1)
    wanted = torch.zeros_like(scores)
    for row, tokens in enumerate(token_sets):
        wanted[row, [targets.index[token] for token in tokens if token in targets.index]] = 1.0
    wanted = wanted / wanted.sum(dim=1, keepdim=True).clamp_min(1.0)
    matching = -(wanted * scores.log_softmax(dim=1)).sum(dim=1).mean()
    loss: torch.Tensor = matching + (lengths / targets.scale - 1.0).square().mean()
    return loss
