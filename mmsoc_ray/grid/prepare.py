"""The work of the CPU tasks: posts of a unit become prompts and pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mmsoc_ray.data import PictureError, Post, Unit, decode_picture
from mmsoc_ray.engines.protocol import Picture
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.keys import row_key
from mmsoc_ray.grid.plan import Question
from mmsoc_ray.grid.wire import PreparedUnit
from mmsoc_ray.tasks import base_setting, render, shows_picture, with_examples


@dataclass(frozen=True)
class Words:
    """What an OCR engine read in a picture: the words, or why there are none."""

    text: str | None
    error: str | None = None


ReadWords = Callable[[Unit, Sequence[Post]], Sequence[Words]]
"""Gives the words of every picture of a unit, in the order of its posts."""


def prepare_unit(
    unit: Unit,
    posts: Sequence[Post],
    questions: Sequence[Question],
    answerer: Answerer,
    read_words: ReadWords,
) -> PreparedUnit:
    """Render all questions on all posts of a unit and decode each picture once.

    A post that cannot be shown (no picture, a broken or too large one) gives requests with an ``error``; its questions
    that need no picture are asked all the same.
    """
    words: Sequence[Words] = ()
    if any(question.setting == "with_ocr" for question in questions):
        words = read_words(unit, posts)
    preparer = _Preparer(answerer, answerer.content(unit.dataset))
    requests: list[dict[str, Any]] = []
    pictures: dict[int, Picture] = {}
    for index, post in enumerate(posts):
        shown = preparer.look_at(post, questions)
        if shown.pixels is not None:
            pictures[index] = shown.pixels
        for question in questions:
            requests.append(preparer.request(index, post, question, shown, words[index] if words else None))
    return PreparedUnit(unit.unit_id, len(posts), tuple(requests), pictures)


@dataclass(frozen=True)
class _Shown:
    sha256: str | None
    pixels: Picture | None
    error: str | None


class _Preparer:
    def __init__(self, answerer: Answerer, content: dict[str, Any]) -> None:
        self._entry = answerer.entry
        self._baseline = answerer.entry.engine == "baseline"
        self._content = content

    def _shows_picture(self, question: Question) -> bool:
        return self._entry.sees_pictures and shows_picture(question.setting)

    def look_at(self, post: Post, questions: Sequence[Question]) -> _Shown:
        """Decode the post's picture where a question shows it; a baseline only tells pictures apart."""
        sha256 = None if post.image is None else hashlib.sha256(post.image).hexdigest()
        if not any(self._shows_picture(question) for question in questions):
            return _Shown(sha256, None, None)
        if post.image is None:
            return _Shown(None, None, "PictureError: the post has no picture")
        try:
            return _Shown(sha256, decode_picture(post.image, max_side=self._entry.max_picture_side), None)
        except PictureError as error:
            return _Shown(sha256, None, f"PictureError: {error}")

    def request(self, index: int, post: Post, question: Question, shown: _Shown, words: Words | None) -> dict[str, Any]:
        with_image = self._shows_picture(question)
        error = shown.error if with_image else None
        if question.setting == "with_ocr" and words is not None and error is None:
            error = words.error
        task = question.definition
        shown_as = base_setting(question.setting, sees_pictures=self._entry.sees_pictures)
        prompt, places = with_examples(
            render(task, post, shown_as, variant=question.variant, words=words.text if words is not None else None),
            question.examples,
        )
        example_images = [example.image_sha256 for example in question.examples if example.image_sha256]
        labels = dict(task.answers) if question.scored else None
        image_sha256 = shown.sha256 if with_image or self._baseline else None
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
                self._content,
                task=question.task,
                prompt=prompt,
                image_sha256=image_sha256,
                max_new_tokens=question.max_new_tokens,
                labels=labels,
                example_images=example_images,
                places=places,
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
        }
