"""How a model answers: the one small interface that every engine implements."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""A decoded picture: RGB, shape (height, width, 3)."""


ERROR_CHARACTERS = 500
"""An answer's ``error`` is cut after so many."""

PROMPT_ERROR = "PromptError: "
"""How the ``error`` of an answer begins that the prompt alone has caused: asked again, it would fail the same way."""


class PromptError(ValueError):
    """A prompt that a model cannot be asked, for example one longer than its context."""


@dataclass(frozen=True)
class Request:
    """One question about one post.

    Attributes:
        setting: For example ``zero_shot``; part of the row's identity.
        task: For example ``humor``.
        prompt: What is asked, rendered by the task; the model's own wrapping (chat template, picture token) is added
            by the engine.
        with_image: Whether the picture is shown to the model.
        max_new_tokens: The answer is cut after so many tokens.
        round: 0 but in self-improvement.
        labels: Label to the word that answers it, where every label is to be scored; None otherwise.
        example_pictures: Pictures of the examples before the question, in order; arrays that all posts share.
        places: Where in the prompt (in characters) the pictures stand: the examples', then the post's own.
        adapter: Name of the LoRA adapter that answers, of those that the engine was given; empty for the base model.
    """

    setting: str
    task: str
    prompt: str
    with_image: bool
    max_new_tokens: int
    round: int = 0
    labels: Mapping[str, str] | None = None
    example_pictures: tuple[Picture, ...] = field(default=(), repr=False)
    places: tuple[int, ...] = (0,)
    adapter: str = ""

    @property
    def pieces(self) -> tuple[str, ...]:
        """The prompt, cut where a picture stands; in one piece where none is shown."""
        if not self.with_image:
            return (self.prompt,)
        cuts = (0, *self.places, len(self.prompt))
        return tuple(self.prompt[start:end] for start, end in itertools.pairwise(cuts))


@dataclass(frozen=True)
class PreparedPost:
    """A post ready for an engine: its picture decoded once, all its requests rendered.

    Attributes:
        post_key: Identity of the post.
        image: The decoded picture, or None where the post has none or no request shows it.
        image_sha256: Digest of the picture's file, or None.
        requests: All that the grid asks of the post, over tasks and settings.
    """

    post_key: str
    image: Picture | None = field(repr=False)
    image_sha256: str | None
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class Answer:
    """What an engine says to one request.

    Attributes:
        post_index: Position of the post in the sequence given to ``answer``.
        request_index: Position of the request within its post.
        output: The generated text without the prompt and special tokens; None when ``error`` is set.
        error: Why there is no output; None otherwise.
        finish_reason: ``stop`` (end of sequence), ``length`` (cut at ``max_new_tokens``), ``error``.
        prompt_tokens: Tokens of the whole prompt, those of the picture included.
        output_tokens: Tokens generated, the end-of-sequence token left out.
        cached_tokens: Prompt tokens that were not computed again.
        latency_s: Seconds from the start of the batch that held the request to its answer.
        label_scores: Probability of each label, summing to 1, where ``Request.labels`` asked for it.
        token_ids: The tokens generated, with the one that ended the answer; empty where the engine does not say.
    """

    post_index: int
    request_index: int
    output: str | None
    error: str | None = None
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    latency_s: float = 0.0
    label_scores: Mapping[str, float] | None = None
    token_ids: tuple[int, ...] = ()


class Engine(Protocol):
    """A loaded model. Constructed once per actor; a dead engine ends its process so that Ray replaces the actor.

    An engine whose GPU another process uses than the actor's may tell of it by two more attributes: ``gpu``, its name,
    and ``gpu_peak_bytes``.
    An engine with a true attribute ``concurrent`` is asked by several threads at once; the others by one at a time.
    """

    name: str
    version: str

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        """Answer every request of every post exactly once, in any order.

        A post that cannot be answered yields answers with ``error`` for its requests; it never raises for its
        neighbours' sake.
        """
        ...
