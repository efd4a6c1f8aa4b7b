"""Self-improvement: the requests of the next round, made from the answers of the last one, asked or known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.keys import row_key
from mmsoc_ray.tasks import improve_prompt, rounds

LookUp = Callable[[Collection[str]], Mapping[str, Mapping[str, Any]]]
"""Gives for some keys those answers that earlier runs hold, a row of ``KNOWN_SCHEMA`` each."""


def nothing_known(row_keys: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Know no answer."""
    return {}


def next_round(
    answerer: Answerer, requests: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the requests of the next round; none where there is no further one.

    A round without an answer has none to give back: the rounds after it fail with its error.

    Args:
        answerer: What answers; its digests enter the keys.
        requests: The requests of the last round.
        rows: What came of them, in their order.
    """
    for request, row in zip(requests, rows, strict=True):
        number = request["round"] + 1
        if number >= rounds(request["setting"]):
            continue
        first = request.get("first_prompt", request["prompt"])
        prompt = improve_prompt(first, request["question"], row.get("output") or "")
        key = row_key(
            answerer.content(request["dataset"]),
            task=request["task"],
            prompt=prompt,
            image_sha256=request["image_sha256"],
            max_new_tokens=request["max_new_tokens"],
            labels=None if request["labels"] is None else dict(request["labels"]),
        )
        changed = {"round": number, "prompt": prompt, "first_prompt": first, "row_key": key, "error": row["error"]}
        yield {**request, **changed}


def find_known(
    answerer: Answerer, requests: Sequence[Mapping[str, Any]], look_up: LookUp
) -> tuple[dict[str, Mapping[str, Any]], frozenset[int]]:
    """Look up the answers to requests, round after round as far as they are known.

    Args:
        answerer: What answers; its digests enter the keys.
        requests: The requests of round 0.
        look_up: Gives the known answers.

    Returns:
        The known answers by key, and the positions of the requests that have a round without one.
    """
    known: dict[str, Mapping[str, Any]] = {}
    left: set[int] = set()
    waiting: list[tuple[int, Mapping[str, Any]]] = list(enumerate(requests))
    while waiting:
        asked = {request["row_key"] for _, request in waiting if request["error"] is None} - known.keys()
        known.update(look_up(asked) if asked else {})
        following: list[tuple[int, Mapping[str, Any]]] = []
        for position, request in waiting:
            answer = request if request["error"] is not None else known.get(request["row_key"])
            if answer is None:
                left.add(position)
            else:
                following += [(position, further) for further in next_round(answerer, [request], [answer])]
        waiting = following
    return known, frozenset(left)
