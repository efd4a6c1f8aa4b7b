"""Label scores: how probable the model itself finds each label, from its logits at the place of the answer.

The score of a label is the natural logarithm of the probability that the answer begins with the label's answer word:
the sum over the word's tokens of their log-probabilities, each given the whole prompt and the tokens before it. It is
not divided by the word's length, and whatever may follow the word counts for it. The probability of a label is the
softmax of these sums over the labels of the task: its share of what the model gives to all of them. Which tokens a word
has, ``label_words`` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import transformers

from mmsoc_ray.engines.checkpoint import Checkpoint
from mmsoc_ray.engines.encoded import EncodedRequest
from mmsoc_ray.engines.label_words import LabelScores, LabelTokens, LabelWords, shares

_library: Any = transformers  # annotated in parts only, which mypy --strict refuses call by call


class LabelScorer:
    """Scores the labels of requests with a loaded checkpoint.

    In one pass with the generation, over its keys and values of the prompt, where nothing is penalised, barred or
    searched and the architecture attends to all of them at fixed positions (``shared_prefix.can_share``): one short
    forward per label. Elsewhere (beam search, encoder-decoders, sliding windows, recurrent states) each label's word is
    forced upon a greedy generation from the prompt, which costs a pass over the prompt per label. Sampling does not
    enter: temperature and what is left out change no score.
    """

    def __init__(self, loaded: Checkpoint) -> None:
        self._loaded = loaded
        apart = bool(loaded.text_model.config.is_encoder_decoder)
        self.tokens = LabelWords(loaded.tokenizer, answers_apart=apart).tokens

    def scores(
        self, model: Any, inputs: Mapping[str, Any], requests: Sequence[EncodedRequest]
    ) -> list[LabelScores | None]:
        """Return the labels' probabilities for each request of a batch; None for one that is not scored.

        None too where the model's logits are no numbers.

        Args:
            model: What answered.
            inputs: What ``generate`` was given, or prompts that were computed: their ``past_key_values`` hold them.
            requests: A request for each row.
        """
        asked = [list((request.label_tokens or {}).values()) for request in requests]
        if not any(asked):
            return [None] * len(requests)
        places = range(max(map(len, asked)))
        # Rows with fewer labels, or none, are given a token that nothing is read from.
        words = [[row[place] if place < len(row) else (0,) for row in asked] for place in places]
        if "past_key_values" in inputs:
            prompt = _PromptCache(inputs)
            sums = [prompt.log_probabilities(model, of_rows) for of_rows in words]
        else:
            sums = [self._forced(model, inputs, of_rows) for of_rows in words]
        rows = torch.stack(sums, dim=1).tolist()
        return [_probabilities(request.label_tokens, row) for request, row in zip(requests, rows, strict=True)]

    def _forced(self, model: Any, inputs: Mapping[str, Any], words: Sequence[tuple[int, ...]]) -> torch.Tensor:
        forced = _ForcedWords(words)
        model.generate(**inputs, generation_config=self._unended(max(map(len, words))), logits_processor=[forced])
        return forced.sums

    def next_token(self, model: Any, inputs: Mapping[str, Any], said: Sequence[int]) -> torch.Tensor:
        """Return each token's log-probability behind one prompt and the beginning of its answer.

        Args:
            model: What answers.
            inputs: What ``generate`` is given, for one row.
            said: Tokens of the answer so far.

        Returns:
            Natural logarithms in single precision, shape (vocabulary,).
        """
        config = self._unended(len(said) + 1)
        config.update(output_logits=True, return_dict_in_generate=True)
        forced = _ForcedWords([(*said, 0)])
        logits = model.generate(**inputs, generation_config=config, logits_processor=[forced]).logits[-1][0]
        return torch.log_softmax(logits.float(), dim=-1).cpu()

    def _unended(self, max_new_tokens: int) -> Any:
        """Return the ``GenerationConfig`` of a greedy answer that no token ends."""
        return _library.GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_new_tokens,
            pad_token_id=self._loaded.pad_token_id,
            bos_token_id=self._loaded.tokenizer.bos_token_id,
            decoder_start_token_id=self._loaded.model.generation_config.decoder_start_token_id,
        )


class _PromptCache:
    """Keys and values of a batch's prompts but for their last tokens, which give the first logits again."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._mask = inputs["attention_mask"]
        self._last = inputs["input_ids"][:, -1:]
        kept = self._mask.shape[1] - 1
        layers = inputs["past_key_values"].layers
        self._layers = [(layer.keys[:, :, :kept], layer.values[:, :, :kept]) for layer in layers]

    def log_probabilities(self, model: Any, words: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Return the sum of the log-probabilities of one word for each row, shape (rows,)."""
        targets, counted = _padded(words, self._last.device)  # (rows, longest word)
        mask = torch.cat([self._mask, torch.ones_like(targets[:, 1:])], dim=1)
        logits = model(
            input_ids=torch.cat([self._last, targets[:, :-1]], dim=1),
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1)[:, -targets.shape[1] :],
            # A new cache over the same tensors: growing it makes new ones.
            past_key_values=_library.DynamicCache(self._layers),
            use_cache=True,
        ).logits
        of_targets = torch.log_softmax(logits.float(), dim=-1).gather(2, targets[:, :, None])[:, :, 0]
        return torch.where(counted, of_targets, 0.0).sum(dim=1)


class _ForcedWords(transformers.LogitsProcessor):  # type: ignore[misc]
    """Lets every row say its word, and sums the log-probabilities that the model gave to it."""

    def __init__(self, words: Sequence[tuple[int, ...]]) -> None:
        self._words = words
        self._step = 0
        self.sums = torch.zeros(len(words))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        targets, counted = _padded(self._words, scores.device)
        target, counts = targets[:, self._step, None], counted[:, self._step]
        found = torch.log_softmax(scores.float(), dim=-1).gather(1, target)[:, 0]
        self.sums = self.sums.to(scores.device) + torch.where(counts, found, 0.0)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, target, 0.0)


def _padded(words: Sequence[tuple[int, ...]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the words' tokens, filled up on the right, and which of them count: shape (rows, longest word)."""
    width = max(map(len, words))
    targets = torch.tensor([[*word, *[0] * (width - len(word))] for word in words], device=device)
    lengths = torch.tensor([len(word) for word in words], device=device)
    return targets, torch.arange(width, device=device) < lengths[:, None]


def _probabilities(label_tokens: LabelTokens | None, sums: Sequence[float]) -> LabelScores | None:
    """Return the labels' shares of a row, which may have room for more labels."""
    return shares(dict(zip(label_tokens, sums, strict=False))) if label_tokens else None
