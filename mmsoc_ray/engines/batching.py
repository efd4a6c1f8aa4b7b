"""Which requests run together, and what happens when a batch fails. Pure: knows no model."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchSize:
    """What a request takes in a batch.

    Attributes:
        group: Only requests of one group can share a batch (same shapes of their pictures, for example).
        prompt_tokens: Length of the prompt.
        new_tokens: Limit of the answer.
        known_tokens: So many of the prompt are computed already, as many for every request of a group.
    """

    group: Hashable
    prompt_tokens: int
    new_tokens: int
    known_tokens: int = 0


def pack(sizes: Sequence[BatchSize], batch_tokens: int, held_tokens: float = math.inf) -> list[list[int]]:
    """Pack requests into batches of similar length.

    Within a group requests are sorted by prompt length, ties by position, and filled up as long as the padded batch,
    ``requests x (longest prompt + most new tokens)``, stays within the bounds. A request that is larger than that on
    its own gets a batch of its own. The result depends on the arguments only, so that a repeated unit forms the same
    batches.

    Args:
        sizes: One entry a request.
        batch_tokens: Bound on the padded tokens of a batch that are still to be computed.
        held_tokens: Bound on all its padded tokens, those that are known included.

    Returns:
        Positions of the requests, batch by batch; every position stands exactly once.
    """
    groups: dict[Hashable, list[int]] = {}
    for position, size in enumerate(sizes):
        groups.setdefault(size.group, []).append(position)
    batches: list[list[int]] = []
    for members in groups.values():
        batch: list[int] = []
        most_new = 0
        for position in sorted(members, key=lambda member: (sizes[member].prompt_tokens, member)):
            size = sizes[position]
            most_new = max(most_new, size.new_tokens)
            # Sorted upwards, so the newcomer is the longest prompt of the batch.
            rows, longest = len(batch) + 1, size.prompt_tokens + most_new
            if batch and (rows * (longest - size.known_tokens) > batch_tokens or rows * longest > held_tokens):
                batches.append(batch)
                batch, most_new = [], size.new_tokens
            batch.append(position)
        batches.append(batch)
    return batches


def run_in_halves(
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], list[Result]],
    give_up: Callable[[Item, Exception], Result],
    after_failure: Callable[[Exception], None],
) -> Iterator[Result]:
    """Run a batch; on an exception run its halves, so that one bad request costs its neighbours nothing.

    Args:
        items: The requests of the batch.
        run: Answers a whole batch or raises.
        give_up: Makes the result of a request that fails alone.
        after_failure: Called after each exception, before the halves run: frees memory or ends the process.

    Yields:
        One result per item.
    """
    try:
        results = run(items)
    except Exception as error:
        failure = error.with_traceback(None)  # its frames would keep the failed batch's tensors in memory
    else:
        yield from results
        return
    after_failure(failure)
    if len(items) == 1:
        yield give_up(items[0], failure)
        return
    middle = len(items) // 2
    yield from run_in_halves(items[:middle], run, give_up, after_failure)
    yield from run_in_halves(items[middle:], run, give_up, after_failure)
