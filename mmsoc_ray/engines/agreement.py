"""Whether two engines, or two batch sizes of one, say the same: token for token, with the margin where they do not.

Two correct computations of the same greedy answer differ where the two best candidates are so close that rounding
decides between them. What comes behind the first diverging token follows from it, so that token alone is looked at: a
reference computes the whole prompt and the tokens before it once more, alone, and says how far the candidates are
apart.
Pure: the reference brings the model along, see ``reference``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mmsoc_ray.engines.protocol import Answer, PreparedPost, Request

MARGIN = 1e-3
"""Log-probabilities no further apart are a matter of rounding in single precision (this project's own choice)."""


@dataclass(frozen=True)
class Disagreement:
    """A request that was answered in two ways.

    Attributes:
        post_key: The post.
        setting: The request's setting.
        task: The request's task.
        round: The request's round.
        outputs: Both answers as text; None for one with an error.
        position: Place of the first diverging token, counted from 0; None where that cannot be told.
        candidates: The tokens there, spelled out; empty for an answer that has ended before.
        margin: By how much the reference finds the worse candidate less likely than its best token, as a difference of
            natural log-probabilities; where the candidates are its two best, the gap between these. None where the
            reference was not or cannot be asked.
        note: Why there is no margin; empty where there is one.
    """

    post_key: str
    setting: str
    task: str
    round: int
    outputs: tuple[str | None, str | None]
    position: int | None
    candidates: tuple[str, str]
    margin: float | None
    note: str = ""

    def is_rounding(self, margin: float = MARGIN) -> bool:
        """Whether the candidates are known to be so close that rounding decides between them."""
        return self.margin is not None and self.margin <= margin

    def __str__(self) -> str:
        """One line: which request, which token, how far apart."""
        where = f"{self.setting}/{self.task}/{self.post_key}" + (f" round {self.round}" if self.round else "")
        one, other = (repr(candidate) if candidate else "(end)" for candidate in self.candidates)
        token = "" if self.position is None else f"token {self.position}: {one} or {other}, "
        margin = f"margin {self.margin:.2e}" if self.margin is not None else f"margin unknown ({self.note})"
        return f"{where}: {token}{margin}; {self.outputs[0]!r} and {self.outputs[1]!r}"


class Reference(Protocol):
    """A model that computes one request alone."""

    def tokens(self, answer: Answer) -> Sequence[int]:
        """Return the tokens of an answer, its end token included: those generated, else those of its text."""
        ...

    def spell(self, token: int) -> str:
        """Return a token as text."""
        ...

    def margin(self, post: PreparedPost, request: Request, said: Sequence[int], candidates: Sequence[int]) -> float:
        """Return by how much the least likely candidate is less likely than the likeliest token.

        Args:
            post: The post, with its picture.
            request: One of its requests.
            said: Tokens of the answer so far.
            candidates: Tokens that may come next.
        """
        ...


def compare(
    posts: Sequence[PreparedPost],
    one: Iterable[Answer],
    other: Iterable[Answer],
    reference: Reference | None = None,
    *,
    no_reference: str = "no reference",
) -> list[Disagreement]:
    """Compare two engines' answers to the same posts.

    Args:
        posts: What both were asked.
        one: An answer to every request, in any order.
        other: The other's.
        reference: Computes margins; without it they are unknown.
        no_reference: Why there is none.

    Returns:
        The requests whose answers differ, in the order of the posts.

    Raises:
        ValueError: Where one of them left a request out or answered it twice.
    """
    answers = [_by_place(posts, answers) for answers in (one, other)]
    found = []
    for post_index, request_index, request in _requests(posts):
        pair = answers[0][post_index, request_index], answers[1][post_index, request_index]
        if _differ(*pair):
            found.append(_disagreement(posts[post_index], request, pair, reference, no_reference))
    return found


def beyond_rounding(disagreements: Iterable[Disagreement], margin: float = MARGIN) -> list[Disagreement]:
    """Return the disagreements that rounding does not explain, those of unknown margin included."""
    return [found for found in disagreements if not found.is_rounding(margin)]


def _requests(posts: Sequence[PreparedPost]) -> Iterator[tuple[int, int, Request]]:
    for post_index, post in enumerate(posts):
        for request_index, request in enumerate(post.requests):
            yield post_index, request_index, request


def _by_place(posts: Sequence[PreparedPost], answers: Iterable[Answer]) -> dict[tuple[int, int], Answer]:
    listed = list(answers)
    places = {(answer.post_index, answer.request_index): answer for answer in listed}
    asked = {(post, request) for post, request, _ in _requests(posts)}
    if len(listed) != len(asked) or places.keys() != asked:
        raise ValueError(f"{len(asked)} requests have {len(listed)} answers, {len(places)} of them distinct")
    return places


def _differ(one: Answer, other: Answer) -> bool:
    tokens_known = bool(one.token_ids and other.token_ids)
    return one.output != other.output or (tokens_known and tuple(one.token_ids) != tuple(other.token_ids))


def _disagreement(
    post: PreparedPost,
    request: Request,
    pair: tuple[Answer, Answer],
    reference: Reference | None,
    no_reference: str,
) -> Disagreement:
    position: int | None = None
    candidates, margin, note = ("", ""), None, no_reference
    failed = next((answer.error for answer in pair if answer.error is not None), None)
    if failed is not None:
        note = failed
    elif reference is not None:
        tokens = [reference.tokens(answer) for answer in pair]
        position = _first_difference(*tokens)
        next_tokens = [said[position] for said in tokens if position < len(said)]
        spelled = [reference.spell(said[position]) if position < len(said) else "" for said in tokens]
        candidates, note = (spelled[0], spelled[1]), "one answer is the beginning of the other"
        if len(next_tokens) == len(tokens):
            margin, note = reference.margin(post, request, tokens[0][:position], next_tokens), ""
    outputs = pair[0].output, pair[1].output
    return Disagreement(
        post.post_key, request.setting, request.task, request.round, outputs, position, candidates, margin, note
    )


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)
