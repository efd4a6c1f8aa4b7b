"""A function over a stream, in Ray tasks, with the results in the order of the stream."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import ray

from mmsoc_ray.grid.stream import start_ray

T = TypeVar("T")
R = TypeVar("R")

ITEMS_HERE = 8
"""A shorter stream is worked off in this process: Ray would take longer to start."""

SPARE_TASKS = 2
"""Tasks that wait beside those that run, so that no core waits for the stream."""


def map_in_order(function: Callable[[T], R], items: Iterable[T], *, address: str | None = None) -> Iterator[R]:
    """Apply a function to every item in Ray tasks; yield the results in order.

    As many items are under way as the cluster has CPUs, and two more; the stream is read no further ahead, so memory
    is bounded by the size of an item and of its result.

    Args:
        function: Travels to the workers.
        items: Read here, one by one.
        address: Ray cluster to join, as ``start_ray`` takes it.

    Raises:
        ray.exceptions.RayError: Where a task fails for good.
    """
    items = iter(items)
    first = list(itertools.islice(items, ITEMS_HERE))
    if len(first) < ITEMS_HERE:
        yield from map(function, first)
        return
    start_ray(address)
    task: Any = ray.remote(num_cpus=1, max_retries=3)(_apply)
    shared = ray.put(function)
    cluster: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    limit = int(cluster.get("CPU", 1)) + SPARE_TASKS
    waiting: deque[Any] = deque()
    for item in itertools.chain(first, items):
        waiting.append(task.remote(shared, item))
        if len(waiting) >= limit:
            yield ray.get(waiting.popleft())
    while waiting:
        yield ray.get(waiting.popleft())


def _apply(function: Callable[[T], R], item: T) -> R:
    return function(item)
