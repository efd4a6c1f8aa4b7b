"""Few-shot examples: which posts are shown with their right answers, and how.

All models get the same examples. To a model that takes several pictures in a prompt, an example is shown as the post
that is asked about is (``zero_shot``): its picture, then its text where the task's prompt speaks of it. To every other
model it is a text: the poster's and the words in the picture as the source transcribes them (``text_only``), and a line
that says that the picture is not shown. Examples come first and the post that is asked about last, so that all posts of
a task share what stands before it. How MM-Soc would show examples was not found (it has no few-shot setting); choice,
order and wording are ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmsoc_ray.tasks.task import CHARACTERS_PER_WORD, TEXT_WORDS, Task, render

if TYPE_CHECKING:
    from mmsoc_ray.data import Post


@dataclass(frozen=True)
class Example:
    """A post with its right answer.

    Attributes:
        post_key: The post.
        prompt: Its texts and the question.
        answer: What a model should have said.
        image_sha256: Digest of its picture's file where that is shown, else None.
    """

    post_key: str
    prompt: str
    answer: str
    image_sha256: str | None = None


def example(task: Task, post: Post, variant: str = "official", *, image_sha256: str | None = None) -> Example:
    """Return a post as an example: with its picture where a digest is given, else as a text.

    Raises:
        ValueError: As ``right_answer``.
    """
    prompt = render(task, post, "text_only" if image_sha256 is None else "zero_shot", variant=variant)
    return Example(post.post_key, prompt, right_answer(task, post.targets.get(task.name, ())), image_sha256)


def right_answer(task: Task, reference: Sequence[str]) -> str:
    """Return a post's reference in the words that the task's prompt asks for.

    A label as its answer word; tags separated by commas; words in a picture in double quotes (quotes inside become
    single); of several texts the first. Texts are cut at ``TEXT_WORDS`` words.

    Raises:
        ValueError: There is no reference, or a label that the task does not have.
    """
    if not reference:
        raise ValueError(f"task {task.name!r}: a post without a reference is no example")
    if task.kind == "classification":
        if reference[0] not in task.answers:
            raise ValueError(f"task {task.name!r} has no label {reference[0]!r}; it has {', '.join(task.labels)}")
        return task.answers[reference[0]]
    text = ",".join(reference) if task.kind == "tagging" else reference[0]
    cut = " ".join(text.split()[:TEXT_WORDS])[: TEXT_WORDS * CHARACTERS_PER_WORD]
    return '"' + cut.replace('"', "'") + '"' if task.kind == "ocr" else cut


class ExampleChooser:
    """Chooses k examples from the posts of a split, whatever their order.

    Posts are ranked by the SHA-256 of seed and ``post_key``; those without a word to show come last. A classification
    takes its labels in turn, so that each has as many examples as another or one more, as far as the split has them.
    The chosen stand in the order of their ranks, so that labels do not alternate.

    Args:
        task: The task.
        count: Number of examples.
        seed: Another seed chooses other posts.
    """

    def __init__(self, task: Task, count: int, seed: int) -> None:
        self._task, self._count, self._seed = task, count, seed
        self._best: dict[str, list[tuple[bool, str, Post]]] = {}

    def add(self, post: Post) -> None:
        """Consider a post; one without a usable target for the task is passed over."""
        reference = post.targets.get(self._task.name, ())
        try:
            right_answer(self._task, reference)
        except ValueError:
            return
        texts = (post.text, None if self._task.kind == "ocr" else post.transcription)
        silent = not any(text and not text.isspace() for text in texts)
        rank = hashlib.sha256(f"{self._seed}|{post.post_key}".encode("utf-8", "surrogatepass")).hexdigest()
        label = reference[0] if self._task.kind == "classification" else ""
        best = self._best.setdefault(label, [])
        best.append((silent, rank, post))
        best.sort(key=lambda ranked: ranked[:2])
        del best[self._count :]

    def chosen(self) -> tuple[Post, ...]:
        """Return the posts of the examples: fewer than wanted where the split has no more."""
        ranked = [(turn, *place) for best in self._best.values() for turn, place in enumerate(best)]
        taken = sorted(ranked, key=lambda place: place[:3])[: self._count]
        return tuple(post for *_, post in sorted(taken, key=lambda place: place[1:3]))


def with_examples(prompt: str, examples: Sequence[Example]) -> tuple[str, tuple[int, ...]]:
    """Return a prompt with examples before it, and where pictures belong in it.

    Returns:
        The text, and the places (in characters) of the pictures of the examples and of the post that is asked about, in
        order. Where no example shows a picture, that of the asked post comes before everything, as without examples.
    """
    text, places = "", []
    for number, shown in enumerate(examples, start=1):
        text += f"Example {number}:\n" if shown.image_sha256 else f"Example {number} (its picture is not shown):\n"
        if shown.image_sha256:
            places.append(len(text))
        text += f"{shown.prompt}\nAnswer: {shown.answer}\n\n"
    text += "The post that is asked about:\n" if examples else ""
    return text + prompt, (*places, len(text) if places else 0)
