"""The work of the CPU tasks: posts of a unit become prompts and pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmsoc_ray.data import PictureError, Post, Unit, decode_picture
from mmsoc_ray.engines.protocol import ERROR_CHARACTERS, Picture
from mmsoc_ray.grid.answerer import Answerer, own_labels
from mmsoc_ray.grid.keys import row_key
from mmsoc_ray.grid.plan import Adapter, Question
from mmsoc_ray.grid.rounds import LookUp, find_known, nothing_known
from mmsoc_ray.grid.wire import PreparedUnit
from mmsoc_ray.tasks import EXPLAIN, base_setting, render, shows_picture, why_question, with_examples


@dataclass(frozen=True)
class Words:
    """What an OCR engine read in a picture: the words, or why there are none."""

    text: str | None
    error: str | None = None


ReadWords = Callable[[Unit, Sequence[Post]], Sequence[Words]]
"""Gives the words of every picture of a unit, in the order of its posts."""


@dataclass(frozen=True)
class RenderedUnit:
    """A unit whose prompts are rendered and whose known answers are looked up; no picture is decoded yet.

    Attributes:
        unit_id: The unit.
        posts: Its posts.
        requests: A row of ``REQUEST_SCHEMA`` per request.
        known: Answers that earlier runs hold, by key.
        left: Positions of the requests with a round that is not known.
        max_picture_side: Pictures are scaled down to this.
    """

    unit_id: str
    posts: Sequence[Post]
    requests: tuple[dict[str, Any], ...]
    known: Mapping[str, Mapping[str, Any]]
    left: frozenset[int]
    max_picture_side: int

    def decode(self) -> Iterator[tuple[int, Picture]]:
        """Decode the picture of each post of which an engine is to be asked with it, once.

        A picture that cannot be decoded fails the requests that show it: they get their ``error``.
        """
        asked = (self.requests[position] for position in sorted(self.left))
        for index in dict.fromkeys(r["post"] for r in asked if r["with_image"]):
            try:
                yield index, decode_picture(self.posts[index].image or b"", max_side=self.max_picture_side)
            except PictureError as error:
                for request in self.requests:
                    if request["post"] == index and request["with_image"]:
                        request["error"] = f"PictureError: {error}"

    def without_engine(self) -> PreparedUnit | None:
        """Return the unit if no engine has to be asked about it, None otherwise; decodes until that is known."""
        asked = (self.requests[position] for position in self.left)
        if any(request["error"] is None and not request["with_image"] for request in asked):
            return None
        return None if next(self.decode(), None) else self.prepared({})

    def prepared(self, pictures: Mapping[int, Picture]) -> PreparedUnit:
        """Return the unit with its decoded pictures."""
        return PreparedUnit(self.unit_id, len(self.posts), self.requests, pictures, self.known)


def prepare_unit(
    unit: Unit,
    posts: Sequence[Post],
    questions: Sequence[Question],
    answerer: Answerer,
    read_words: ReadWords,
    look_up: LookUp = nothing_known,
) -> PreparedUnit:
    """Render all questions on all posts of a unit and decode each picture once that an engine is to be shown.

    A post that cannot be shown (no picture, a broken or too large one) gives requests with an ``error``; its questions
    that need no picture are asked all the same.
    """
    rendered = render_unit(unit, posts, questions, answerer, read_words, look_up)
    return rendered.prepared(dict(rendered.decode()))


def render_unit(
    unit: Unit,
    posts: Sequence[Post],
    questions: Sequence[Question],
    answerer: Answerer,
    read_words: ReadWords,
    look_up: LookUp = nothing_known,
) -> RenderedUnit:
    """Render all questions on all posts of a unit and look up which of their answers are known."""
    words: Sequence[Words] = ()
    if any(question.setting == "with_ocr" for question in questions):
        words = read_words(unit, posts)
    preparer = _Preparer(answerer, answerer.content(unit.dataset))
    requests: list[dict[str, Any]] = []
    for index, post in enumerate(posts):
        sha256 = None if post.image is None else hashlib.sha256(post.image).hexdigest()
        for question in questions:
            requests.append(preparer.request(index, post, question, sha256, words[index] if words else None))
    known, left = find_known(answerer, requests, look_up)
    return RenderedUnit(unit.unit_id, posts, tuple(requests), known, left, answerer.entry.max_picture_side)


class _Preparer:
    def __init__(self, answerer: Answerer, content: dict[str, Any]) -> None:
        self._entry = answerer.entry
        self._baseline = answerer.entry.engine == "baseline"
        self._content = content

    def request(
        self, index: int, post: Post, question: Question, sha256: str | None, words: Words | None
    ) -> dict[str, Any]:
        with_image = self._entry.sees_pictures and shows_picture(question.setting)
        error = "PictureError: the post has no picture" if with_image and post.image is None else None
        if question.setting == "with_ocr" and words is not None and error is None:
            error = words.error
        task = question.definition
        asked = None
        if question.setting == EXPLAIN:
            try:
                asked = why_question(task, post.targets[question.task], question.variant)
            except ValueError as wrong:
                error = f"TargetError: {wrong}"[:ERROR_CHARACTERS]
        shown_as = base_setting(question.setting, sees_pictures=self._entry.sees_pictures)
        prompt, places = with_examples(
            render(
                task,
                post,
                shown_as,
                variant=question.variant,
                words=words.text if words is not None else None,
                asked=asked,
            ),
            question.examples,
        )
        example_images = [example.image_sha256 for example in question.examples if example.image_sha256]
        labels = dict(task.answers) if question.scored else None
        answerer = self._content if question.adapter is None else self._with_adapter(question.adapter)
        image_sha256 = sha256 if with_image or self._baseline else None
        return {
            "post": index,
            "setting": question.setting,
            "task": question.task,
            "dataset": post.dataset,
            "split": post.split,
            "post_key": post.post_key,
            "sample_id": post.sample_id,
            "round": 0,
            "row_key": row_key(
                answerer,
                task=question.task,
                prompt=prompt,
                image_sha256=image_sha256,
                max_new_tokens=question.max_new_tokens,
                labels=labels,
                example_images=example_images,
                places=places,
                own_task=own_labels(question),
            ),
            "image_sha256": image_sha256,
            "prompt": prompt,
            "question": task.question(question.variant) if question.rounds > 1 else None,
            "with_image": with_image,
            "example_images": example_images,
            "places": list(places),
            "max_new_tokens": question.max_new_tokens,
            "labels": None if labels is None else list(labels.items()),
            "positive": task.positive,
            "reference": list(post.targets[question.task]),
            "error": error,
            "adapter": question.adapter.name if question.adapter else "",
        }

    def _with_adapter(self, adapter: Adapter) -> dict[str, Any]:
        return {**self._content, "adapter_digest": adapter.digest}
