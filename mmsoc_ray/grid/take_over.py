"""Taking over: units of which every answer is known become durable before any engine is started."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.data
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mmsoc_ray.data import Unit, open_storage
from mmsoc_ray.grid.answer import UnitAnswerer
from mmsoc_ray.grid.executions import explained
from mmsoc_ray.grid.pace import Receipt
from mmsoc_ray.grid.reuse import AnswerSource, Note, index_answers, read_answers
from mmsoc_ray.grid.stream import PREPARE_CPUS, PREPARE_MEMORY, Pipeline, render, write_predictions

INDEX_RESTARTS = 3
PROBLEMS_SHOWN = 10
"""A folder that has lost its files' rights would otherwise fill the screen."""


class IndexActor:
    """Holds the index of a model's known answers beside the driver, the only copy in the cluster."""

    def __init__(self, root_uri: str, source: AnswerSource) -> None:
        self._problems: list[str] = []
        self._index = index_answers(open_storage(root_uri), source, self._problems.append)

    def answers(self) -> int:
        """Return how many answers there are."""
        return len(self._index)

    def report(self, problems: Sequence[str]) -> None:
        """Remember what is said of files that cannot be read."""
        self._problems += problems

    def problems(self) -> list[str]:
        """Return what was reported, each once, the first of many."""
        problems = list(dict.fromkeys(self._problems))
        more = len(problems) - PROBLEMS_SHOWN
        return problems[:PROBLEMS_SHOWN] + ([f"... and from {more} more files"] if more > 0 else [])

    def files_of(self, row_keys: Sequence[str]) -> dict[str, list[str]]:
        """See ``KnownAnswers.files_of``."""
        return self._index.files_of(row_keys)


@dataclass(frozen=True)
class EarlierAnswers:
    """Looks up answers: which files may hold them is asked of the index, the files are read where the task runs.

    Attributes:
        root_uri: Output root.
        index: The actor with the index.
        version: The engine version that answers must have; None takes any.
    """

    root_uri: str
    index: Any
    version: str | None

    def __call__(self, row_keys: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return a row of ``KNOWN_SCHEMA`` for each key that an earlier run has an answer to."""
        files = ray.get(self.index.files_of.remote(list(row_keys)))
        found, problems = read_answers(open_storage(self.root_uri), files, self.version)
        if problems:
            self.index.report.remote(problems)
        return found


@contextlib.contextmanager
def earlier_answers(root_uri: str, source: AnswerSource, note: Note) -> Iterator[EarlierAnswers | None]:
    """Index what earlier runs have answered, as long as the block lasts; None where that is nothing.

    Args:
        root_uri: Output root.
        source: The earlier runs of the model.
        note: Told of each file that cannot be read.
    """
    if not source.runs:
        yield None
        return
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(num_cpus=0, max_restarts=INDEX_RESTARTS, max_task_retries=INDEX_RESTARTS)(IndexActor)
    index = actor.options(scheduling_strategy=here).remote(root_uri, source)
    try:
        yield EarlierAnswers(root_uri, index, source.version) if ray.get(index.answers.remote()) else None
        with contextlib.suppress(ray.exceptions.RayActorError):  # the answers are durable; only what is said is lost
            for problem in ray.get(index.problems.remote()):
                note(problem)
    finally:
        ray.kill(index)


def take_over(pipeline: Pipeline, units: Sequence[Unit]) -> Iterator[Receipt]:
    """Make those units durable that need no engine; yield a receipt for each.

    A row is a unit, as in ``stream_units``, but there is no actor and no GPU, and a picture is decoded only where its
    requests are not known, until one of a unit can be: then the unit is left to the engine.

    Args:
        pipeline: The model's stream.
        units: The units still to do.

    Raises:
        StreamStalledError: Where the stream stops for a reason that may pass; what was durable stays.
        ray.exceptions.RayTaskError: Where a task raises.
    """
    rows = [dataclasses.asdict(unit) for unit in units]
    dataset: ray.data.Dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset = dataset.map(functools.partial(_take_over, pipeline), num_cpus=PREPARE_CPUS, memory=PREPARE_MEMORY)
    dataset.context.execution_no_progress_timeout_s = pipeline.resources.no_progress_timeout_s
    try:
        for row in dataset.iter_rows():
            if row["receipt"]:
                yield Receipt.from_json(row["receipt"])
    except Exception as error:
        raise explained(error, timeout_s=pipeline.resources.no_progress_timeout_s) from error


def _take_over(pipeline: Pipeline, row: Mapping[str, Any]) -> dict[str, Any]:
    unit = render(pipeline, row).without_engine()
    if unit is None:
        return {"receipt": ""}
    predictions = UnitAnswerer(pipeline.run_id, pipeline.answerer, None)(unit)
    receipt = write_predictions(pipeline, unit.unit_id, unit.posts, predictions, 0.0)
    return {"receipt": receipt.json}
