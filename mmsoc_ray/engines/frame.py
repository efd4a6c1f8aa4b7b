"""What reads a prompt for a checkpoint, without its weights: tokenizer, frame, limits; and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from mmsoc_ray.engines.checkpoint import end_token_ids, frame_of, load_readers, positions, read_answer
from mmsoc_ray.engines.prompt_checks import framed
from mmsoc_ray.engines.protocol import Request
from mmsoc_ray.engines.wrapping import PromptWrapper
from mmsoc_ray.models.entry import ModelEntry

_library: Any = transformers


@dataclass(frozen=True)
class Frame:
    """Turns requests into the tokens of whole prompts; a picture is its one placeholder, as the frame spells it.

    Attributes:
        model: Name of the model, for errors.
        tokenizer: The checkpoint's.
        wrapper: Its own frame around a prompt.
        end_token_ids: Any of them ends an answer.
        context_tokens: Prompt and answer together cannot be longer; None if the checkpoint does not say.
        control_tokens: Control tokens of an empty frame, without (False) and with a picture (True).
    """

    model: str
    tokenizer: Any
    wrapper: PromptWrapper
    end_token_ids: frozenset[int]
    context_tokens: int | None
    control_tokens: dict[bool, int]

    @property
    def sees_pictures(self) -> bool:
        """Whether the checkpoint can be shown pictures."""
        return True in self.control_tokens

    def read(self, request: Request, *, has_picture: bool) -> tuple[str, list[int]]:
        """Return the wrapped prompt as text and as tokens; see ``prompt_checks.framed``."""
        return framed(request, self.wrapper, self.control_tokens, has_picture=has_picture, model=self.model)

    def decode(self, tokens: list[int]) -> tuple[str, int, bool]:
        """Return the text of an answer up to its end token, the tokens before that, and whether it ended."""
        return read_answer(self.tokenizer, self.end_token_ids, tokens)


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
        model=entry.name,
        tokenizer=tokenizer,
        wrapper=wrapper,
        end_token_ids=end_token_ids((generation,), tokenizer, wrapper),
        context_tokens=positions(config, tokenizer),
        control_tokens=wrapper.empty_frames(with_pictures=processor is not None),
    )
