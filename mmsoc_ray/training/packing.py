"""Several questions about one picture in one sequence, none of which sees another.

The picture takes most of a prompt's tokens. Here it stands once, and each question with its answer follows as if it
came directly after the picture: it attends to the picture and itself, and its positions count on from the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmsoc_ray.models.demo_llava import CHAT_TEMPLATE, IMAGE_TOKEN, REPLACED_TOKEN
from mmsoc_ray.training.projector_data import Turn

IGNORED = -100
"""Label of a token whose prediction is not scored."""

_END = "<|im_end|>"


@dataclass(frozen=True)
class Packed:
    """One picture with its turns; all tensors have shape (tokens,).

    Attributes:
        input_ids: Tokens; the picture's are placeholders.
        position_ids: Position of each token in its own conversation.
        segments: 0 for what all turns share, else the number of the turn.
        labels: The token itself where it belongs to an answer, ``IGNORED`` elsewhere.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class PackedBatch:
    """Packed sequences, padded at the end.

    Attributes:
        input_ids: (batch, tokens).
        position_ids: (batch, tokens).
        attention_mask: (batch, 1, tokens, tokens), true where a token (row) sees another (column).
        labels: (batch, tokens).
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor


class Packer:
    """Turns questions and answers into tokens, exactly as the model's processor would.

    Args:
        tokenizer: SmolLM2's tokenizer, in which the picture's placeholder is ``REPLACED_TOKEN``.
        picture_tokens: Tokens that a picture takes.
    """

    def __init__(self, tokenizer: Any, picture_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._picture_tokens = picture_tokens
        self.image_token_id: int = tokenizer.convert_tokens_to_ids(REPLACED_TOKEN)
        self.pad_token_id: int = tokenizer.pad_token_id

    def prompt_ids(self, question: str) -> list[int]:
        """Return the tokens of a prompt up to where the answer begins."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=CHAT_TEMPLATE,
            add_generation_prompt=True,
            tokenize=False,
        )
        return self._ids(text.replace(IMAGE_TOKEN, REPLACED_TOKEN * self._picture_tokens))

    def pack(self, turns: Sequence[Turn]) -> Packed:
        """Lay out a picture's turns."""
        prompts = [self.prompt_ids(turn.question) for turn in turns]
        shared = _after_picture(prompts[0], self.image_token_id)
        ids, positions, segments, labels = prompts[0][:shared], list(range(shared)), [0] * shared, [IGNORED] * shared
        for number, (turn, prompt) in enumerate(zip(turns, prompts, strict=True), start=1):
            question, answer = prompt[shared:], self._ids(turn.answer + _END)
            ids += question + answer
            labels += [IGNORED] * len(question) + answer
            length = len(question) + len(answer)
            positions += range(shared, shared + length)
            segments += [number] * length
        return Packed(*(torch.tensor(values) for values in (ids, positions, segments, labels)))

    def collate(self, packed: Sequence[Packed]) -> PackedBatch:
        """Pad sequences to one length."""
        segments = _pad([one.segments for one in packed], -1)
        return PackedBatch(
            input_ids=_pad([one.input_ids for one in packed], self.pad_token_id),
            position_ids=_pad([one.position_ids for one in packed], 0),
            attention_mask=visible(segments).unsqueeze(1),
            labels=_pad([one.labels for one in packed], IGNORED),
        )

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids


def visible(segments: torch.Tensor) -> torch.Tensor:
    """Return which tokens see which: earlier ones that are shared or of the same turn.

    Args:
        segments: (batch, tokens); 0 shared, above 0 a turn, below 0 padding.

    Returns:
        (batch, tokens, tokens), rows see columns. Padding sees padding, since attention over nothing is undefined.
    """
    length = segments.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    same = segments.unsqueeze(2) == segments.unsqueeze(1)
    shared = (segments == 0).unsqueeze(1)
    return earlier & (same | shared)


def _after_picture(ids: Sequence[int], image_token_id: int) -> int:
    return len(ids) - list(reversed(ids)).index(image_token_id)


def _pad(rows: Sequence[torch.Tensor], value: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)
