"""From a post to what a model learns: the tokens of the prompt as evaluation feeds them, and behind them the answer.

Only the answer's tokens are scored: those of its text and the one that ends it. They stand behind the prompt, or, in an
encoder-decoder, are the decoder's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import PictureError, Post, decode_picture
from mmsoc_ray.engines.checkpoint import answer_end, load_checkpoint
from mmsoc_ray.engines.encoded import SECOND_PROMPT, pad_right
from mmsoc_ray.engines.label_words import LabelWords
from mmsoc_ray.engines.protocol import Picture, PromptError, Request
from mmsoc_ray.engines.reading import Inputs, RequestReader
from mmsoc_ray.engines.shared_prefix import can_share
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import ModelEntry
from mmsoc_ray.tasks import FINETUNED, Task, base_setting, render, right_answer, shows_picture
from mmsoc_ray.training.packing import IGNORED
from mmsoc_ray.training.targets import target_text


class LeftOutError(ValueError):
    """A pair of post and task that cannot be learnt.

    Attributes:
        reason: ``no_picture``, ``broken_picture``, ``no_answer``, ``no_explanation``, ``too_long`` or ``unreadable``
            (its text or answer spells control tokens that could not be made harmless, or the model's own processor
            refuses it).
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Sample:
    """A post's task as a model learns it.

    Attributes:
        key: ``<post_key>|<task>``.
        tokens: Inputs along the tokens, shape (1, tokens): prompt and answer; in an encoder-decoder the prompt. Those
            of a Q-Former's own prompt have its length.
        labels: Shape (1, tokens), in an encoder-decoder (1, answer tokens): the answer's tokens, elsewhere ``IGNORED``.
        pictures: Pixel values and their sizes, as the processor made them.
    """

    key: str
    tokens: Inputs
    labels: torch.Tensor
    pictures: Inputs

    @property
    def input_ids(self) -> torch.Tensor:
        """Shape (1, tokens)."""
        return self.tokens["input_ids"]

    @property
    def answer_tokens(self) -> int:
        """How many tokens are scored."""
        return int((self.labels != IGNORED).sum())

    @property
    def layout(self) -> tuple[Any, ...]:
        """Samples of one layout can share a forward pass: pictures' tensors go one behind the other."""
        return tuple((name, tuple(tensor.shape[1:])) for name, tensor in sorted(self.pictures.items()))


class SampleMaker:
    """Makes samples for a checkpoint, of which it loads all but the weights.

    Args:
        checkpoint: The folder.
        entry: The model.
        recipe: Says what is learnt, how long a sample may be and whether samples are packed.

    Raises:
        ConfigurationError: The checkpoint cannot be read, or the recipe packs what cannot be packed exactly.
    """

    def __init__(self, checkpoint: Path, entry: ModelEntry, recipe: Recipe) -> None:
        self._entry, self._recipe = entry, recipe
        self._loaded = load_checkpoint(checkpoint, entry, torch.float32, torch.device("meta"))
        # Lengths are checked here, where a long sample can be told from one that cannot be read.
        self._context, self._loaded.context_tokens = self._loaded.context_tokens, None
        self._reader = RequestReader(self._loaded, entry.name)
        self.encoder_decoder = bool(self._loaded.text_model.config.is_encoder_decoder)
        self._words = LabelWords(self._loaded.tokenizer, answers_apart=self.encoder_decoder)
        self._end = answer_end(self._loaded.tokenizer, self._loaded.wrapper)
        self._shown_as = base_setting(FINETUNED, sees_pictures=entry.sees_pictures)
        if recipe.packing and (entry.sees_pictures or not can_share(self._loaded.model)):
            raise ConfigurationError(
                f"recipe {recipe.name!r}, packing: model {entry.name!r} sees pictures or attends to parts of a text "
                f"only, and would not learn the same. Remove the field."
            )

    def make(self, post: Post, task: Task, explanation: str | None = None, *, variant: str = "official") -> Sample:
        """Return the sample of a post and a task.

        Args:
            post: The post, with its picture's file.
            task: The task.
            explanation: Why the answer is right, where the recipe learns that.
            variant: Which of the task's prompts.

        Raises:
            LeftOutError: It cannot be learnt.
        """
        try:
            answer = right_answer(task, post.targets.get(task.name, ()))
        except ValueError as error:
            raise LeftOutError("no_answer", str(error)) from error
        if self._recipe.explained and not explanation:
            raise LeftOutError("no_explanation", f"{post.post_key}: no explanation of {task.name}")
        text = target_text(self._recipe.target, answer, explanation)
        if not text.strip():
            raise LeftOutError("no_answer", f"{post.post_key}: the answer of {task.name} says nothing")
        picture = self._picture(post)
        prompt = render(task, post, self._shown_as, variant=variant)
        try:
            return self._sample(f"{post.post_key}|{task.name}", prompt, text, picture, task.name)
        except LeftOutError:
            raise
        except Exception as error:  # whatever a tokenizer or a picture processor says to what strangers wrote
            raise LeftOutError("unreadable", f"{post.post_key}: {type(error).__name__}: {error}") from error

    def _picture(self, post: Post) -> Picture | None:
        if not (self._entry.sees_pictures and shows_picture(self._shown_as)):
            return None
        if post.image is None:
            raise LeftOutError("no_picture", f"{post.post_key} has no picture")
        try:
            return decode_picture(post.image, max_side=self._entry.max_picture_side)
        except PictureError as error:
            raise LeftOutError("broken_picture", f"{post.post_key}: {error}") from error

    def _sample(self, key: str, prompt: str, text: str, picture: Picture | None, task: str) -> Sample:
        request = Request(FINETUNED, task, prompt, with_image=picture is not None, max_new_tokens=0)
        answer = self._answer(request, text)
        self._reader.begin_post()
        tokens, pictures = self._reader.read(request, picture)
        prompt_tokens = tokens["input_ids"].shape[1]
        self._check_length(key, prompt_tokens, answer.shape[1])
        if self.encoder_decoder:
            return Sample(key, tokens, answer, pictures)
        labels = torch.cat([torch.full((1, prompt_tokens), IGNORED), answer], dim=1)
        return Sample(key, _continued(tokens, answer), labels, pictures)

    def _answer(self, request: Request, text: str) -> torch.Tensor:
        """Return the answer's tokens behind a prompt, with the one that ends it, shape (1, answer tokens)."""
        wrapper = self._loaded.wrapper
        ids = self._words.tokens(wrapper.wrap(request.pieces), {"": wrapper.harmless(text)})[""]
        if wrapper.control_tokens_among(ids):
            raise PromptError("the answer spells a control token in a way that could not be made harmless")
        return torch.tensor([[*ids, *([] if self._end is None else [self._end])]])

    def _check_length(self, key: str, prompt: int, answer: int) -> None:
        longest = max(prompt, answer) if self.encoder_decoder else prompt + answer
        allowed = min(self._recipe.context_tokens, self._context or longest)
        if longest > allowed:
            raise LeftOutError("too_long", f"{key}: {prompt} tokens and {answer} of the answer; {allowed} are allowed")

    def micro_batches(self, samples: Iterable[Sample]) -> list[dict[str, torch.Tensor]]:
        """Put the samples of a step into forward passes of ``micro_batch`` samples or fewer.

        Samples of like layout and length go together; the loss of a step is a sum over its samples.
        """
        layouts: dict[Any, list[Sample]] = {}
        for sample in samples:
            layouts.setdefault(sample.layout, []).append(sample)
        size = self._recipe.micro_batch
        batches = []
        for alike in layouts.values():
            alike.sort(key=lambda sample: sample.input_ids.shape[1])
            batches += [self.collate(alike[at : at + size]) for at in range(0, len(alike), size)]
        return batches

    def collate(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        """Return samples of one layout as ``model(**inputs)`` takes them, padded at their ends or packed into one row.

        ``input_ids`` and ``attention_mask`` have shape (samples, tokens), ``labels`` too or, in an encoder-decoder,
        (samples, answer tokens), where ``decoder_input_ids`` stand beside them. Packed, they have shape (1, tokens of
        all), ``position_ids`` begin anew with each sample, and ``attention_mask`` of shape (1, 1, tokens, tokens) is
        true where a token (row) sees another (column).
        """
        if self._recipe.packing:
            return packed(samples)
        batch: dict[str, torch.Tensor] = {}
        for name in samples[0].tokens:
            fill = self._loaded.pad_token_id if name == "input_ids" else 0
            batch[name] = _padded([sample.tokens[name] for sample in samples], fill)
        batch["labels"] = _padded([sample.labels for sample in samples], IGNORED)
        if self.encoder_decoder:
            batch["decoder_input_ids"] = self._shifted(batch["labels"])
        for name in samples[0].pictures:
            batch[name] = torch.cat([sample.pictures[name] for sample in samples])
        return batch

    def _shifted(self, labels: torch.Tensor) -> torch.Tensor:
        start = self._loaded.model.generation_config.decoder_start_token_id
        before = labels.masked_fill(labels == IGNORED, self._loaded.pad_token_id)[:, :-1]
        return torch.cat([torch.full((len(labels), 1), start), before], dim=1)


def packed(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """Return text samples in one row, none of which sees another; see ``SampleMaker.collate``."""
    lengths = torch.tensor([sample.input_ids.shape[1] for sample in samples])
    owner = torch.repeat_interleave(torch.arange(len(samples)), lengths)
    same = owner[:, None] == owner[None, :]
    return {
        "input_ids": torch.cat([sample.input_ids for sample in samples], dim=1),
        "labels": torch.cat([sample.labels for sample in samples], dim=1),
        "position_ids": torch.cat([torch.arange(int(length)) for length in lengths])[None],
        "attention_mask": same.tril()[None, None],
    }


def _continued(tokens: Inputs, answer: torch.Tensor) -> Inputs:
    """Return the inputs along the tokens with an answer behind the prompt."""
    behind = {"input_ids": answer, "attention_mask": torch.ones_like(answer)}
    return {
        name: tensor
        if name.startswith(SECOND_PROMPT)
        else torch.cat([tensor, behind.get(name, torch.zeros_like(answer)).to(tensor.dtype)], dim=1)
        for name, tensor in tokens.items()
    }


def _padded(rows: Sequence[torch.Tensor], fill: int) -> torch.Tensor:
    width = max(row.shape[1] for row in rows)
    return torch.cat([pad_right(row, width, fill) for row in rows])
