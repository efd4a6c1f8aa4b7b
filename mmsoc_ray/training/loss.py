"""The loss: of answer tokens alone, summed, so that any number of workers and micro batches gives the same mean."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from mmsoc_ray.training.packing import IGNORED


class AnswerLoss:
    """Sums the negative log-likelihood of answer tokens, in nats.

    The output layer, the largest of a small model, is computed where an answer is predicted and nowhere else.

    Args:
        model: What is called, perhaps wrapped.
        base: The model of the transformers library inside it.
    """

    def __init__(self, model: Any, base: Any) -> None:
        self._model = model
        self._shifts = not base.config.is_encoder_decoder
        self._selects = self._shifts and "logits_to_keep" in inspect.signature(base.forward).parameters

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the sum over the tokens whose label is not ``IGNORED``.

        Args:
            inputs: Arguments of ``forward`` with ``labels``, (batch, tokens); to an encoder-decoder, (batch, answer
                tokens), beside ``decoder_input_ids``.
        """
        labels = inputs["labels"]
        others = {name: tensor for name, tensor in inputs.items() if name != "labels"}
        if not self._shifts:
            return _summed(self._model(**others, use_cache=False).logits, labels)
        predicted = labels[:, 1:]
        if not self._selects:
            return _summed(self._model(**others, use_cache=False).logits[:, :-1], predicted)
        places = (predicted != IGNORED).any(dim=0).nonzero().squeeze(1)
        logits = self._model(**others, use_cache=False, logits_to_keep=places).logits
        return _summed(logits, predicted[:, places])


def _summed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    flat = logits.flatten(0, 1).float()
    return torch.nn.functional.cross_entropy(flat, labels.flatten(), ignore_index=IGNORED, reduction="sum")
