"""Asking an engine so that one post that it cannot survive costs its neighbours nothing."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmsoc_ray.engines.protocol import ERROR_CHARACTERS
from mmsoc_ray.grid.attempts import Attempts
from mmsoc_ray.grid.turns import Turns
from mmsoc_ray.grid.wire import PreparedUnit

TRIES_TOGETHER = 3
"""So often a unit is asked whole; after that its posts are asked alone."""
TRIES_ALONE = 3
"""So often a post is asked alone; after that it is given up."""
BROKEN_AFTER = 3
"""An engine that gave up so many posts and has answered nothing is broken; the posts are not."""

AnswerUnit = Callable[[PreparedUnit], pa.Table]
"""Asks the engine: predictions of all requests of a unit, see ``UnitAnswerer``."""


class EngineBrokenError(RuntimeError):
    """An engine fails over everything that it is asked."""


@dataclasses.dataclass(frozen=True)
class GivenUp:
    """A post that its engine does not survive."""

    post: int
    error: str


@dataclasses.dataclass(frozen=True)
class Undecided:
    """A unit whose every post was given up by an engine that has answered nothing yet: the engine may be broken.

    Attributes:
        posts: Number of posts that were given up.
        error: What happened to the last of them.
    """

    posts: int
    error: str


class CarefulAnswerer:
    """Asks an engine unit after unit, with every attempt on record.

    A unit is asked whole up to ``TRIES_TOGETHER`` times. Where that ends the process each time, or raises, its posts
    are asked alone: predictions of each are kept, so that neighbours are asked once. A post that raises alone, or that
    ends the process ``TRIES_ALONE`` times, gets rows with its error.

    Several threads may ask about units whole at a time; a unit that is taken apart has the engine to itself, so that a
    death is laid to the one post that was asked.

    Args:
        answer: Asks the engine.
        attempts: Where attempts are on record.
        settle: Waits until what the engine has answered is durable. Called before anything is asked that may have ended
            a process: it would take along what is on its way.
    """

    def __init__(self, answer: AnswerUnit, attempts: Attempts, settle: Callable[[], None] = lambda: None) -> None:
        self._answer = answer
        self._attempts = attempts
        self._settle = settle
        self._turns = Turns()
        self._answering = False

    def __call__(self, unit: PreparedUnit) -> pa.Table | Undecided:
        """Return the predictions of a unit in the order of its requests, round by round.

        Raises:
            EngineBrokenError: Where the engine gives up ``BROKEN_AFTER`` posts and has answered nothing.
        """
        if not _askable(unit):
            return self._answer(unit)
        tries = self._attempts.tries(unit.unit_id)
        if tries < TRIES_TOGETHER:
            with self._turns.together():
                if tries:
                    self._settle()
                self._attempts.begin(unit.unit_id)
                try:
                    predictions = self._answer(unit)
                except Exception:
                    # Which of the posts it was, if any, only asking them alone can tell.
                    said = traceback.format_exc()
                    print(f"unit {unit.unit_id} is taken apart:\n{said}", file=sys.stderr, flush=True)
                else:
                    return self._noted(predictions)
        with self._turns.alone():
            self._settle()
            return self._taken_apart(unit)

    def _taken_apart(self, unit: PreparedUnit) -> pa.Table | Undecided:
        predictions: dict[int, pa.Table] = {}
        given_up: list[GivenUp] = []
        parts = unit.posts_alone()
        for post, part in parts.items():
            asked = self._alone(post, part)
            if isinstance(asked, GivenUp):
                given_up.append(asked)
                if len(given_up) >= BROKEN_AFTER and not self._has_answered():
                    raise EngineBrokenError(broken(len(given_up), asked.error))
            else:
                predictions[post] = asked
        if given_up and not self._has_answered():
            return Undecided(len(given_up), given_up[-1].error)
        for lost in given_up:
            predictions[lost.post] = self._with_error(parts[lost.post], lost)
        rows = pa.concat_tables(predictions[post] for post in parts)
        # Each part has all its rounds; a whole unit has one round after the other. The sort is stable.
        return rows.take(pc.sort_indices(rows.column("round")))

    def _alone(self, post: int, part: PreparedUnit) -> pa.Table | GivenUp:
        attempts = self._attempts
        if not _askable(part):
            return self._answer(part)
        kept = attempts.kept(part.unit_id, post)
        if kept is not None:
            return kept
        if attempts.tries(part.unit_id, post) >= TRIES_ALONE:
            return GivenUp(post, f"Quarantined: the engine died or hung {TRIES_ALONE} times over this post alone")
        attempts.begin(part.unit_id, post)
        try:
            predictions = self._answer(part)
        except Exception as error:
            return GivenUp(post, f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS])
        attempts.keep(part.unit_id, post, self._noted(predictions))
        return predictions

    def _with_error(self, part: PreparedUnit, lost: GivenUp) -> pa.Table:
        """Return the rows of a post that was given up, and keep them; answers that earlier runs hold stay."""
        requests = tuple(
            request if _is_known(part, request) else {**request, "error": request["error"] or lost.error}
            for request in part.requests
        )
        predictions = self._answer(dataclasses.replace(part, requests=requests))
        self._attempts.keep(part.unit_id, lost.post, predictions)
        return predictions

    def _noted(self, predictions: pa.Table) -> pa.Table:
        """Record the first time that the engine answers; what earlier runs hold it has not answered."""
        if not self._answering and predictions.filter(pc.is_null(predictions["reused_from"]))["error"].null_count:
            self._attempts.set_answering()
            self._answering = True
        return predictions

    def _has_answered(self) -> bool:
        return self._answering or self._attempts.answering()


def broken(posts: int, error: str) -> str:
    """Return what is said of an engine that fails over everything."""
    return f"the engine failed over each of {posts} posts that it was asked alone and has answered nothing; {error}"


def _is_known(unit: PreparedUnit, request: Mapping[str, Any]) -> bool:
    """Whether a request needs no engine; one with further rounds may need it for them."""
    return request["question"] is None and unit.known_answer(request) is not None


def _askable(unit: PreparedUnit) -> bool:
    return any(request["error"] is None for request in unit.requests)
