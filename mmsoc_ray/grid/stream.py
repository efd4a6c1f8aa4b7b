"""The stream: units through Ray Data. The only home of Ray Data.

A row is a unit from plan to receipt: Ray never splits a row, so no block size, fusion or placement can tear one.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data
import ray.data.exceptions
import ray.exceptions

from mmsoc_ray.config import Resources
from mmsoc_ray.data import SplitManifest, Unit, endpoint_for_nodes, open_storage, read_unit
from mmsoc_ray.grid.answer import open_answerer
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.examples import load_pictures
from mmsoc_ray.grid.pace import Receipt
from mmsoc_ray.grid.plan import Question
from mmsoc_ray.grid.prepare import RenderedUnit, render_unit
from mmsoc_ray.grid.rounds import LookUp, nothing_known
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.sink import receipt_of, write_unit
from mmsoc_ray.grid.wire import PreparedUnit, from_bytes, to_bytes
from mmsoc_ray.grid.words import UnitWords

PREPARE_CPUS = 1.0
PREPARE_MEMORY = 512 * 2**20
"""Logical memory of a preparing task. It also keeps Ray Data from fusing the tasks into the engine's actors, where
decoding would hold up the engine: stages with different resources are not fused."""

SINK_CPUS = 0.1
STREAM_ERRORS = (
    ray.exceptions.RayError,
    ray.data.exceptions.SystemException,
    ray.data.exceptions.ExecutionTimeoutError,
)
"""What a pipeline raises when a task or an actor fails for good."""

UNITS_IN_FLIGHT = 2
"""Units queued at an actor: one answered, one waiting, so that the engine never waits for the next."""


@dataclass(frozen=True)
class Pipeline:
    """One model's stream, with all that its tasks and actors need to know.

    Attributes:
        data_uri: Root of the datasets.
        root_uri: Output root.
        run_id: The run.
        config: Hash of the configuration; names the folder of the units' files.
        answerer: The model.
        questions: What is asked, by dataset.
        fit: For a baseline: splits that it is fitted on.
        resources: What the engine pool takes.
        words_digest: Digest of the OCR engine, where a setting uses one.
        look_up: Gives the answers that earlier runs hold.
    """

    data_uri: str
    root_uri: str
    run_id: str
    config: str
    answerer: Answerer
    questions: Mapping[str, tuple[Question, ...]]
    fit: Mapping[str, SplitManifest]
    resources: Resources
    words_digest: str | None
    look_up: LookUp = nothing_known


def stream_units(pipeline: Pipeline, units: Sequence[Unit]) -> Iterator[Receipt]:
    """Answer units and make them durable; yield a receipt as soon as each is.

    Args:
        pipeline: The model's stream.
        units: The units still to do.

    Raises:
        ray.exceptions.RayError: Where a task or actor fails for good; what was durable stays.
    """
    if not units:
        return
    rows = [dataclasses.asdict(unit) for unit in units]
    resources = pipeline.resources
    dataset: ray.data.Dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset = dataset.map(functools.partial(_prepare, pipeline), num_cpus=PREPARE_CPUS, memory=PREPARE_MEMORY)
    dataset = dataset.map_batches(
        EngineActor,
        fn_constructor_args=(pipeline,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=min(resources.actors, len(units)), max_tasks_in_flight_per_actor=UNITS_IN_FLIGHT
        ),
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
    )
    dataset = dataset.map(functools.partial(_sink, pipeline), num_cpus=SINK_CPUS)
    for row in dataset.iter_rows():
        yield Receipt(**row)


def render(pipeline: Pipeline, row: Mapping[str, Any]) -> RenderedUnit:
    """Read the posts of a unit, render what is asked of them and look up what is known; decode nothing."""
    unit = Unit(**row)
    posts = read_unit(open_storage(pipeline.data_uri), unit)
    words = UnitWords(open_storage(pipeline.root_uri), pipeline.words_digest or "")
    return render_unit(unit, posts, pipeline.questions[unit.dataset], pipeline.answerer, words, pipeline.look_up)


def _prepare(pipeline: Pipeline, row: Mapping[str, Any]) -> dict[str, Any]:
    rendered = render(pipeline, row)
    return rendered.prepared(dict(rendered.decode())).to_row()


class EngineActor:
    """Holds one engine. Loads the weights once, then answers unit after unit."""

    def __init__(self, pipeline: Pipeline) -> None:
        threads = pipeline.resources.threads or max(1, (os.cpu_count() or 1) // pipeline.resources.actors)
        self._answerer = open_answerer(
            pipeline.run_id,
            pipeline.answerer,
            open_storage(pipeline.data_uri),
            pipeline.fit,
            threads=threads,
            tasks={q.task: q.definition for questions in pipeline.questions.values() for q in questions},
            example_pictures=load_pictures(
                open_storage(pipeline.root_uri),
                RunFolder(pipeline.run_id),
                [q for questions in pipeline.questions.values() for q in questions],
                max_side=pipeline.answerer.entry.max_picture_side,
            ),
        )

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Answer the one unit of a batch."""
        (unit,) = (PreparedUnit.from_row({name: column[0] for name, column in batch.items()}),)
        started = time.monotonic()
        predictions = self._answerer(unit)
        return {
            "unit_id": [unit.unit_id],
            "posts": [unit.posts],
            "predictions": [to_bytes(predictions)],
            "seconds": [time.monotonic() - started],
        }


def _sink(pipeline: Pipeline, row: Mapping[str, Any]) -> dict[str, Any]:
    predictions = from_bytes(row["predictions"])
    receipt = write_predictions(pipeline, str(row["unit_id"]), int(row["posts"]), predictions, float(row["seconds"]))
    return dataclasses.asdict(receipt)


def write_predictions(pipeline: Pipeline, unit_id: str, posts: int, predictions: pa.Table, seconds: float) -> Receipt:
    """Make a unit's predictions durable."""
    model = pipeline.answerer.entry.name
    path = RunFolder(pipeline.run_id).unit(model, pipeline.config, unit_id)
    write_unit(open_storage(pipeline.root_uri), path, predictions)
    return receipt_of(unit_id, model, posts, predictions, seconds)


def start_ray(address: str | None) -> None:
    """Join the cluster at ``address`` (or of ``RAY_ADDRESS``), or start Ray inside this process.

    A Ray inside this process gets logical CPUs to spare, so that the tasks that read and write never wait for those
    that an engine holds; how many threads an engine computes with is set apart from that.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Ray's C++ core prints errors about its own internals that no user can act on; failures still raise.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    address = address or os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        pass
    elif address and address != "local":
        ray.init(address=address, runtime_env={"env_vars": endpoint_for_nodes()}, **quiet)
    else:
        # Threads of an engine that wait for each other spin; for long, they starve what shares their cores. Measured
        # on two cores with two other busy processes: a unit in 56 s instead of 115 s, and alone no slower.
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
        ray.init(address="local", num_cpus=(os.cpu_count() or 1) + 2, include_dashboard=False, **quiet)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    context.raise_original_map_exception = True  # else its type is lost, and its words stand among Ray's advice
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is raised; the driver says it once


def cause_of(error: Exception) -> Exception:
    """Return what a task or an actor raised, without Ray's wrapping and the worker's traceback."""
    return error.cause if isinstance(error, ray.exceptions.RayTaskError) else error


def run_tasks(function: Callable[..., Any], calls: Sequence[Sequence[Any]], *, num_cpus: float = 1.0) -> Iterator[Any]:
    """Run a function as Ray tasks, one per list of arguments; yield the results, and raise errors, as they come."""
    task = ray.remote(num_cpus=num_cpus, max_retries=3)(function)
    waiting = [task.remote(*arguments) for arguments in calls]
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        try:
            yield from ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise cause_of(error) from error
