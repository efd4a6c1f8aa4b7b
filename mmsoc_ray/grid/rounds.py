"""Self-improvement: the requests of the next round, made from the answers of the last one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.keys import row_key
from mmsoc_ray.tasks import improve_prompt, rounds


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
