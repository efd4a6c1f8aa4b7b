"""Baselines that look at no post: what is gained by answering with the majority, or by drawing from train."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mmsoc_ray.engines.protocol import Answer, PreparedPost, Request

DISTINCT_REFERENCES = 20_000
"""So many different references per task are counted, whatever the size of the train split."""

SAMPLED_POSTS = 20_000
"""So many posts' references per task are kept to draw from."""

BUILT_IN_KINDS: Mapping[str, str] = {"tagging": "tagging", "ocr": "ocr"}
"""Built-in tasks that are answered by tags or by text in a picture, to their kind."""


@dataclass(frozen=True)
class TaskFit:
    """What a train split says about one task.

    Attributes:
        posts: Posts that have the task's target.
        references: References over all those posts.
        counts: Reference and how often it occurs, most frequent first, ties in lexicographic order.
        sample: References of single posts, sorted: all of them, or a random ``SAMPLED_POSTS``.
    """

    posts: int
    references: int
    counts: tuple[tuple[str, int], ...]
    sample: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BaselineFit:
    """What a train split says about its tasks; made by ``fit_baseline``."""

    tasks: Mapping[str, TaskFit]

    @property
    def digest(self) -> str:
        """SHA-256 over everything that a baseline answers from; enters the key of its answers."""
        content = {task: [fit.posts, fit.references, fit.counts, fit.sample] for task, fit in self.tasks.items()}
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def fit_baseline(rows: Iterable[Mapping[str, Sequence[str]]]) -> BaselineFit:
    """Count the targets of a train split.

    Reads the rows once. Memory is bounded: per task, references are counted exactly up to the first
    ``DISTINCT_REFERENCES`` different ones (a later newcomer is not counted; label sets never come near), and the posts
    to draw from are a uniform reservoir of ``SAMPLED_POSTS`` (algorithm R with a fixed seed; all posts of a smaller
    split). On a split within both bounds the order of the rows does not matter.

    Args:
        rows: Targets of each post: task to references. A task with no reference is left out.
    """
    counts: dict[str, Counter[str]] = {}
    samples: dict[str, list[tuple[str, ...]]] = {}
    posts: Counter[str] = Counter()
    references: Counter[str] = Counter()
    generator = random.Random(0)  # noqa: S311 - a sample, not a secret
    for row in rows:
        for task, values in sorted(row.items()):
            if not values:
                continue
            count, sample = counts.setdefault(task, Counter()), samples.setdefault(task, [])
            count.update(value for value in values if value in count or len(count) < DISTINCT_REFERENCES)
            posts[task] += 1
            references[task] += len(values)
            if len(sample) < SAMPLED_POSTS:
                sample.append(tuple(values))
            elif (place := generator.randrange(posts[task])) < SAMPLED_POSTS:
                sample[place] = tuple(values)
    return BaselineFit(
        {
            task: TaskFit(
                posts=posts[task],
                references=references[task],
                counts=tuple(sorted(counts[task].items(), key=lambda item: (-item[1], item[0]))),
                sample=tuple(sorted(samples[task])),
            )
            for task in sorted(counts)
        }
    )


class MajorityEngine:
    """Gives every post of a task the same answer, the one that train makes most likely.

    - A classification: the most frequent label (ties: the first in lexicographic order), as its answer word.
    - ``tagging``: the k most frequent tags (ties: lexicographic), separated by commas; k is the mean number of tags of
      a train post, rounded half up, at least one.
    - ``ocr``: the most frequent text (ties: lexicographic) in double quotes; double quotes inside it become single.
    - Any other task: the most frequent reference (ties: lexicographic).

    Where a request asks for label scores, each label has its frequency in train: the best constant forecast there is.
    Answers are not cut at ``max_new_tokens``, and no tokens are counted: nothing is generated.

    Attributes:
        name: ``baseline``.
        version: Raised when the definition above changes.
    """

    name = "baseline"
    version = "majority-1"

    def __init__(
        self, fit: BaselineFit, answers: Mapping[str, Mapping[str, str]], kinds: Mapping[str, str] = BUILT_IN_KINDS
    ) -> None:
        """Keep the fit.

        Args:
            fit: What train says.
            answers: Classification task to label to the word that answers it.
            kinds: Any other task to its kind: ``tagging``, ``ocr``, or free text, which need not stand here.
        """
        self._fit = fit
        self._answers = answers
        self._kinds = kinds

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        """Answer every request; a task that the fit has no targets for gets an error."""
        return _answer_all(posts, self._fit, self._say)

    def _say(self, request: Request, post: PreparedPost, fit: TaskFit) -> str:
        most_frequent = fit.counts[0][0]
        if request.task in self._answers:
            return _answer_word(self._answers, request.task, most_frequent)
        if self._kinds.get(request.task) == "tagging":
            k = max(1, int(fit.references / fit.posts + 0.5))
            return ", ".join(tag for tag, _ in fit.counts[:k])
        return _quoted(most_frequent) if self._kinds.get(request.task) == "ocr" else most_frequent


class RandomEngine:
    """Gives a post an answer drawn from train.

    - A classification: a label drawn with its frequency in train, as its answer word.
    - ``tagging``: all tags of a random train post, separated by commas.
    - ``ocr``: a random train post's text in double quotes; double quotes inside it become single.
    - Any other task: a random reference of a random train post.

    The draw is a function of seed, task, prompt and picture (SHA-256 over them), not of order, unit, post or setting:
    requests with the same content get the same answer. The picture counts whether or not it is shown, since memes with
    the same prompt differ by nothing else. Where a request asks for label scores, each label has its frequency in
    train, with which it is drawn. Answers are not cut at ``max_new_tokens``, and no tokens are counted: nothing is
    generated.

    Attributes:
        name: ``baseline``.
        version: Raised when the definition above changes.
    """

    name = "baseline"
    version = "random-1"

    def __init__(
        self,
        fit: BaselineFit,
        answers: Mapping[str, Mapping[str, str]],
        seed: int,
        kinds: Mapping[str, str] = BUILT_IN_KINDS,
    ) -> None:
        """Keep the fit; see ``MajorityEngine`` for its arguments.

        Args:
            fit: What train says.
            answers: Classification task to label to the word that answers it.
            seed: Another seed draws other answers.
            kinds: Any other task to its kind.
        """
        self._kinds = kinds
        self._fit = fit
        self._answers = answers
        self._seed = seed

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        """Answer every request; a task that the fit has no targets for gets an error."""
        return _answer_all(posts, self._fit, self._say)

    def _say(self, request: Request, post: PreparedPost, fit: TaskFit) -> str:
        draw = self._draw(request, post.image_sha256)
        if request.task in self._answers:
            return _answer_word(self._answers, request.task, _weighted(fit.counts, draw))
        references = fit.sample[draw % len(fit.sample)]
        if self._kinds.get(request.task) == "tagging":
            return ", ".join(references)
        reference = references[draw // len(fit.sample) % len(references)]
        return _quoted(reference) if self._kinds.get(request.task) == "ocr" else reference

    def _draw(self, request: Request, image_sha256: str | None) -> int:
        """Return 256 bits that depend on the request's content only."""
        content: list[Any] = [self._seed, request.task, request.prompt, image_sha256]
        return int.from_bytes(hashlib.sha256(json.dumps(content).encode()).digest())


class _Say(Protocol):
    def __call__(self, request: Request, post: PreparedPost, fit: TaskFit) -> str: ...


def _answer_all(posts: Sequence[PreparedPost], fit: BaselineFit, say: _Say) -> Iterator[Answer]:
    for post_index, post in enumerate(posts):
        for request_index, request in enumerate(post.requests):
            task_fit = fit.tasks.get(request.task)
            try:
                if task_fit is None:
                    raise ValueError(
                        f"the baseline's train split has no targets for task {request.task!r} "
                        f"(it has: {', '.join(fit.tasks) or 'none'})"
                    )
                said = say(request, post, task_fit)
                yield Answer(post_index, request_index, output=said, label_scores=_frequencies(request, task_fit))
            except ValueError as error:
                yield Answer(post_index, request_index, output=None, error=str(error), finish_reason="error")


def _frequencies(request: Request, fit: TaskFit) -> dict[str, float] | None:
    """Return the share of train posts that each label has, 0 for one that train lacks; None where it is not asked."""
    if not request.labels:
        return None
    counts = dict(fit.counts)
    return {label: counts.get(label, 0) / fit.references for label in request.labels}


def _answer_word(answers: Mapping[str, Mapping[str, str]], task: str, label: str) -> str:
    word = answers[task].get(label)
    if word is None:
        raise ValueError(
            f"the train split has the label {label!r} for task {task!r}; known: {', '.join(answers[task])}"
        )
    return word


def _weighted(counts: Sequence[tuple[str, int]], draw: int) -> str:
    """Return the label at the drawn place, each label as wide as its count."""
    place = draw % sum(count for _, count in counts)
    for label, count in counts:
        place -= count
        if place < 0:
            return label
    raise AssertionError("a remainder is smaller than its divisor")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'
