"""What reads a prompt for a checkpoint, without its weights: tokenizer, frame, limits; and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from mmsoc_ray.engines.checkpoint import end_token_ids, frame_of, load_readers, positions
from mmsoc_ray.engines.protocol import PromptError, Request
from mmsoc_ray.engines.wrapping import PromptWrapper
from mmsoc_ray.models.entry import ModelEntry

_library: Any = transformers


@dataclass(frozen=True)
class Frame:
    """Turns requests into the tokens of whole prompts; a picture is its one placeholder, as the frame spells it.

    Attributes:
        tokenizer: The checkpoint's.
        wrapper: Its own frame around a prompt.
        sees_pictures: Whether it has a processor for pictures.
        end_token_ids: Any of them ends an answer.
        context_tokens: Prompt and answer together cannot be longer; None if the checkpoint does not say.
        control_tokens: Control tokens of an empty frame, without (False) and with a picture (True).
    """

    tokenizer: Any
    wrapper: PromptWrapper
    sees_pictures: bool
    end_token_ids: frozenset[int]
    context_tokens: int | None
    control_tokens: dict[bool, int]

    def text(self, request: Request, *, has_picture: bool) -> str:
        """Return the wrapped prompt.

        Raises:
            PromptError: The post's text became a control token, or a picture got no place.
            ValueError: The request shows a picture that is not there, or that the model cannot see.
        """
        if request.with_image and not self.sees_pictures:
            raise ValueError("the model sees no pictures, but the request shows one")
        if request.with_image and not has_picture:
            raise ValueError("the request shows a picture, but the post has none")
        text = self.wrapper.wrap(request.pieces)
        pictures = len(request.example_pictures) + 1 if request.with_image else 0
        expected = self.control_tokens[False]
        expected += pictures * (self.control_tokens[True] - expected) if pictures else 0
        found = self.wrapper.control_tokens(text)
        if found != expected:
            raise PromptError(
                f"the prompt holds {found} control tokens where the model's frame has {expected}: "
                "the post's text spells one in a way that could not be made harmless"
            )
        return text

    def token_ids(self, text: str) -> list[int]:
        """Return the tokens of a wrapped prompt."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=self.wrapper.add_special_tokens)
        return ids

    def decode(self, tokens: list[int]) -> tuple[str, int, bool]:
        """Return the text of an answer up to its end token, the tokens in it, and whether it ended."""
        end = next((place for place, token in enumerate(tokens) if token in self.end_token_ids), None)
        kept = tokens if end is None else tokens[:end]
        output = self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(output), len(kept), end is not None


def load_frame(folder: Path, entry: ModelEntry) -> Frame:
    """Return what reads prompts for a checkpoint folder.

    Raises:
        ConfigurationError: As ``load_checkpoint``.
    """
    config, tokenizer, processor, where = load_readers(folder, entry)
    wrapper = frame_of(entry, tokenizer, processor, where)
    saved = (folder / "generation_config.json").is_file()
    generation = (
        _library.GenerationConfig.from_pretrained(folder, local_files_only=True)
        if saved
        else _library.GenerationConfig.from_model_config(config)
    )
    return Frame(
        tokenizer=tokenizer,
        wrapper=wrapper,
        sees_pictures=processor is not None,
        end_token_ids=end_token_ids((generation,), tokenizer, wrapper),
        context_tokens=positions(config, tokenizer),
        control_tokens=wrapper.empty_frames(with_pictures=processor is not None),
    )
