"""The baseline ``tfidf_logreg``: which words stand in a post's text, weighted by a linear classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mmsoc_ray.data.posts import fold_text
from mmsoc_ray.engines.protocol import Answer, PreparedPost, Request
from mmsoc_ray.engines.versions import tfidf_version
from mmsoc_ray.tasks import Task, render

if TYPE_CHECKING:
    from mmsoc_ray.data import Post

FIT_POSTS = 100_000
"""So many posts of a fit split are learnt from, the first ones."""

TASK_KIND = "classification"


def texts_in(prompt: str, question: str) -> str:
    """Return what is read of a post: the texts in its ``text_only`` prompt, without their names and the question."""
    lines = prompt.removesuffix(question).splitlines()
    return "\n".join(line.partition(": ")[2] for line in lines if line)


class TfidfEngine:
    """Answers tasks with labels by logistic regression over TF-IDF of words and pairs of words (scikit-learn).

    One classifier a task, fitted on the fit split's texts: weights ``(1 + log tf) x idf``, rows of length 1, L2 penalty
    with C = 1, all else as scikit-learn has it. Posts whose text, whatever its case and white space, also stands among
    those that are evaluated are left out of the fit. The pictures are not looked at. What is read of a post is its
    prompt without the question. Where a request asks for label scores, they are the classifier's probabilities.

    Attributes:
        name: ``baseline``.
        version: ``versions.tfidf_version``.
    """

    name = "baseline"
    version = tfidf_version()

    def __init__(
        self, posts: Iterable[Post], tasks: Mapping[str, Task], questions: Mapping[str, str], evaluated: Iterable[Post]
    ) -> None:
        """Fit a classifier for each task.

        Args:
            posts: The fit split.
            tasks: The tasks that will be asked, by name.
            questions: Task to the question that ends its prompts.
            evaluated: The posts that will be asked about.
        """
        self._tasks, self._questions = tasks, questions
        barred = {_folded(post) for post in evaluated}
        texts: dict[str, list[str]] = {name: [] for name in tasks}
        labels: dict[str, list[str]] = {name: [] for name in tasks}
        for post, _ in zip((post for post in posts if _folded(post) not in barred), range(FIT_POSTS), strict=False):
            for name, task in tasks.items():
                if task.kind == TASK_KIND and post.targets.get(name):
                    texts[name].append(texts_in(render(task, post, "text_only"), task.prompt))
                    labels[name].append(post.targets[name][0])
        self._fits = {name: _fit(texts[name], labels[name]) for name in tasks}

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        """Answer every request; one of a task that cannot be learnt from texts gets an error."""
        for post_index, post in enumerate(posts):
            for request_index, request in enumerate(post.requests):
                try:
                    label, scores = self._say(request)
                    word = self._tasks[request.task].answers[label]
                    yield Answer(
                        post_index, request_index, output=word, label_scores=scores if request.labels else None
                    )
                except (LookupError, ValueError) as error:
                    said = f"{type(error).__name__}: {error}"
                    yield Answer(post_index, request_index, output=None, error=said, finish_reason="error")

    def _say(self, request: Request) -> tuple[str, dict[str, float]]:
        task, fit = self._tasks[request.task], self._fits[request.task]
        if fit is None:
            raise ValueError(f"the fit split has no texts with labels for task {request.task!r}")
        if isinstance(fit, str):
            return fit, {label: float(label == fit) for label in task.labels}
        text = texts_in(request.prompt, self._questions[request.task])
        found = dict(zip(fit.classes_.tolist(), fit.predict_proba([text])[0].tolist(), strict=True))
        return max(found, key=lambda label: found[label]), {label: found.get(label, 0.0) for label in task.labels}


def _folded(post: Post) -> tuple[str, ...]:
    """Return what makes two posts' texts the same; a post without any text is like no other."""
    texts = [fold_text(text) for text in (post.text, post.transcription)]
    return tuple(texts) if any(texts) else (post.post_key,)


def _fit(texts: Sequence[str], labels: Sequence[str]) -> Any:
    """Return a fitted classifier, the label where there is one only, None where no text has a word."""
    if len(set(labels)) == 1:
        return labels[0]
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=1.0, max_iter=1000)
    )
    try:
        return model.fit(texts, labels)
    except ValueError:  # no text, or none with a word
        return None
