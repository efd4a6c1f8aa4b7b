"""The stream: units through Ray Data. The only home of Ray Data.

A row is a unit from plan to receipt: Ray never splits a row, so no block size, fusion or placement can tear one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import itertools
import json
import logging
import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
import ray.data
import ray.exceptions

from mmsoc_ray.config import Resources
from mmsoc_ray.data import SplitManifest, Unit, endpoint_for_nodes, open_storage, read_unit
from mmsoc_ray.grid.answer import open_answerer
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.asking import CarefulAnswerer, EngineBrokenError, Undecided
from mmsoc_ray.grid.attempts import Attempts, kept_alone
from mmsoc_ray.grid.examples import load_pictures
from mmsoc_ray.grid.executions import explained, kill_actors
from mmsoc_ray.grid.heaps import few_heaps
from mmsoc_ray.grid.pace import Receipt
from mmsoc_ray.grid.plan import Question
from mmsoc_ray.grid.prepare import RenderedUnit, render_unit
from mmsoc_ray.grid.retries import Deferred, EngineLoadError, StreamStalledError
from mmsoc_ray.grid.rounds import LookUp, nothing_known
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.sink import receipt_of, write_unit
from mmsoc_ray.grid.turns import Pending
from mmsoc_ray.grid.usage import EngineClock, EngineUse, peak_memory
from mmsoc_ray.grid.wire import PreparedUnit
from mmsoc_ray.grid.words import UnitWords

PREPARE_CPUS = 1.0
PREPARE_MEMORY = 512 * 2**20
"""Logical memory of a preparing task. It also keeps Ray Data from fusing the tasks into the engine's actors, where
decoding would hold up the engine: stages with different resources are not fused."""

STREAM_ERRORS = (ray.exceptions.RayError, StreamStalledError, EngineLoadError, EngineBrokenError)
"""What a pipeline raises when a task or an actor fails for good."""

UNITS_AT_ONCE = {"vllm": 4}
"""Units that an engine is asked about at a time; where it says nothing, one. A continuous engine is kept full by
several, and finishes each as its last answer comes."""
UNITS_BESIDE = 1
"""Units that an actor holds beside those: one that waits for its turn, so that the engine never waits. The next comes
once answers are in their file, before that one is answered. What an actor holds no other takes, even where it idles."""

LOADS = 3
"""An engine that dies or raises so often in a row while it loads cannot be loaded."""

ACTOR_NAME = "mmsoc-engine"
_ADVICE = "\nFailed to "
"""With this, Ray Data begins what it adds to the words of an error."""

SCORING_WORKERS = {"env_vars": {"MMSOC_RAY_WORKER": "scores"}}
"""Counting and scoring have workers of their own: else the libraries of the metrics would be loaded on top of what
preparing units takes, in whichever worker Ray has at hand."""

TASKS_AT_ONCE = 512
"""Tasks that are submitted at a time: each wait looks at all of them, and a large run has thousands."""


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
        datasets: For a baseline: splits that it answers on.
        resources: What the engine pool takes.
        words_digest: Digest of the OCR engine, where a setting uses one.
        job: This process of the job, in the record of attempts.
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
    datasets: Mapping[str, SplitManifest] = field(default_factory=dict)
    look_up: LookUp = nothing_known
    job: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def _path(self) -> tuple[str, str]:
        return self.answerer.entry.name, self.config

    def is_done(self, unit_id: str) -> bool:
        """Whether a unit's predictions are there."""
        return open_storage(self.root_uri).exists(RunFolder(self.run_id).unit(*self._path, unit_id))

    def attempts(self, node: str) -> Attempts:
        """Return the attempts as an engine on a node sees them."""
        return Attempts(open_storage(self.root_uri), RunFolder(self.run_id).attempts(*self._path), f"{self.job}.{node}")

    def durable(self) -> frozenset[str]:
        """Return the ids of all units that are done, and the files of posts that were asked alone."""
        root, folder = open_storage(self.root_uri), RunFolder(self.run_id)
        units = root.list_files(folder.predictions(*self._path))
        done = {path.rpartition("/")[2].removesuffix(".parquet") for path in units}
        return frozenset(done | kept_alone(root, folder.attempts(*self._path)))


def stream_units(pipeline: Pipeline, units: Sequence[Unit]) -> Iterator[Receipt | Deferred]:
    """Answer units and make them durable; yield a receipt as soon as each is.

    Args:
        pipeline: The model's stream.
        units: The units still to do.

    Raises:
        StreamStalledError: Where the stream stops for a reason that may pass; what was durable stays.
        EngineLoadError: Where no engine can be loaded.
        ray.exceptions.RayTaskError: Where a task or an engine raises.
    """
    if not units:
        return
    execution = f"{ACTOR_NAME}-{secrets.token_hex(8)}-"
    try:
        for row in _rows(_dataset(pipeline, units, execution)):
            yield Deferred(**json.loads(row["deferred"])) if row["deferred"] else Receipt.from_json(row["receipt"])
    except Exception as error:
        raise explained(error, timeout_s=pipeline.resources.no_progress_timeout_s) from error
    finally:
        kill_actors(execution)


def _rows(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """Yield rows as they come; ``iter_rows`` would fetch the next block first, and tell of a unit one too late."""
    tables: Any = dataset.iter_batches(prefetch_batches=0, batch_size=None, batch_format="pyarrow")
    for table in tables:
        yield from table.to_pylist()


def _dataset(pipeline: Pipeline, units: Sequence[Unit], execution: str) -> ray.data.Dataset:
    rows = [dataclasses.asdict(unit) for unit in units]
    resources, held = pipeline.resources, units_at_once(pipeline) + UNITS_BESIDE
    dataset: ray.data.Dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset = dataset.map(functools.partial(_prepare, pipeline), num_cpus=PREPARE_CPUS, memory=PREPARE_MEMORY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray 2.64 drops ray_remote_args_fn; 2.60 has no other way to name the actors
        dataset = dataset.map_batches(
            EngineActor,
            fn_constructor_args=(pipeline,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                size=min(resources.actors, len(units)),
                max_tasks_in_flight_per_actor=held,
                max_concurrent_calls_per_actor=held,
                enable_true_multi_threading=True,
            ),
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            ray_remote_args_fn=lambda: {"name": f"{execution}{secrets.token_hex(4)}"},
        )
    dataset.context.execution_no_progress_timeout_s = resources.no_progress_timeout_s
    dataset.context.max_consecutive_actor_init_deaths = LOADS - 1
    return dataset


def units_at_once(pipeline: Pipeline) -> int:
    """Return how many units an engine of the pipeline is asked about at a time."""
    return UNITS_AT_ONCE.get(pipeline.answerer.entry.engine, 1)


def render(pipeline: Pipeline, row: Mapping[str, Any]) -> RenderedUnit:
    """Read the posts of a unit, render what is asked of them and look up what is known; decode nothing."""
    unit = Unit(**row)
    posts = read_unit(open_storage(pipeline.data_uri), unit)
    words = UnitWords(open_storage(pipeline.root_uri), pipeline.words_digest or "")
    return render_unit(unit, posts, pipeline.questions[unit.dataset], pipeline.answerer, words, pipeline.look_up)


def _prepare(pipeline: Pipeline, row: Mapping[str, Any]) -> dict[str, Any]:
    if pipeline.is_done(row["unit_id"]):  # by another process
        unit = PreparedUnit(row["unit_id"], row["posts"], (), {})
    else:
        rendered = render(pipeline, row)
        unit = rendered.prepared(dict(rendered.decode()))
    return {**unit.to_row(), "prepare_peak_bytes": peak_memory()}


@dataclass(frozen=True)
class _Asked:
    """What came of asking an engine about a unit.

    Attributes:
        answered: Its predictions, or why there are none yet; None where the engine was not asked.
        seconds: What it took.
        ended_at: When it ended, in seconds since 1970.
        use: What the engine did since it last told.
    """

    answered: pa.Table | Undecided | None
    seconds: float
    ended_at: float
    use: EngineUse


class EngineActor:
    """Holds one engine. Loads the weights once, then answers unit after unit and makes each durable.

    Each call has a thread of its own, in which a unit is unpacked and written. The engine is loaded and asked in as
    many others as it takes units at a time: where that is one, torch never sees a second, with a pool of its own.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._clock = EngineClock()
        self._pipeline = pipeline
        self._asking = ThreadPoolExecutor(units_at_once(pipeline))
        self._writing = Pending()
        attempts = pipeline.attempts(ray.get_runtime_context().get_node_id()[:12])
        lost = attempts.loads_lost()
        if lost >= LOADS * pipeline.resources.actors:
            raise EngineBrokenError(f"the engine's process ended {lost} times in a row while it loaded the model")
        attempts.begin_loading()
        with contextlib.suppress(ImportError):  # open_answerer says it better
            importlib.import_module(f"mmsoc_ray.engines.{pipeline.answerer.entry.engine}")
        self._clock.imported()
        threads = pipeline.resources.threads or max(1, (os.cpu_count() or 1) // pipeline.resources.actors)
        answerer = self._asking.submit(
            open_answerer,
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
            root=open_storage(pipeline.root_uri),
            evaluated=pipeline.datasets,
            prompts={q.task: q.definition.question(q.variant) for asked in pipeline.questions.values() for q in asked},
        ).result()
        attempts.end_loading()
        self._engine = answerer.engine
        self._answerer = CarefulAnswerer(answerer, attempts, settle=self._writing.wait)
        self._clock.loaded()

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        """Answer the one unit of a batch, unless another process has; return its receipt, or why there is none yet."""
        (unit,) = (PreparedUnit.from_row({name: column[0] for name, column in batch.items()}),)
        asked = self._asking.submit(self._ask, unit).result()
        if isinstance(asked.answered, Undecided):
            deferred = {"unit_id": unit.unit_id, **dataclasses.asdict(asked.answered)}
            return {"receipt": [""], "deferred": [json.dumps(deferred)]}
        if asked.answered is None:
            model = self._pipeline.answerer.entry.name
            receipt = Receipt(unit.unit_id, model, unit.posts, 0, 0, 0, 0, asked.seconds, elsewhere=True)
        else:
            try:
                receipt = write_predictions(self._pipeline, unit.unit_id, unit.posts, asked.answered, asked.seconds)
            finally:
                self._writing.end()
        peak = int(batch["prepare_peak_bytes"][0])
        receipt = dataclasses.replace(receipt, use=asked.use, ended_at=asked.ended_at, prepare_peak_bytes=peak)
        return {"receipt": [receipt.json], "deferred": [""]}

    def _ask(self, unit: PreparedUnit) -> _Asked:
        started = time.monotonic()
        done = not unit.requests or self._pipeline.is_done(unit.unit_id)
        with self._clock.answering():
            answered = None if done else self._answerer(unit)
        asked = _Asked(answered, time.monotonic() - started, time.time(), self._clock.take(self._engine))
        if isinstance(answered, pa.Table):
            self._writing.begin()  # here: the next unit may be asked before the call of this one goes on
        return asked


def write_predictions(pipeline: Pipeline, unit_id: str, posts: int, predictions: pa.Table, seconds: float) -> Receipt:
    """Make a unit's predictions durable."""
    model = pipeline.answerer.entry.name
    path = RunFolder(pipeline.run_id).unit(model, pipeline.config, unit_id)
    started = time.monotonic()
    write_unit(open_storage(pipeline.root_uri), path, predictions)
    sink_s = time.monotonic() - started
    return dataclasses.replace(receipt_of(unit_id, model, posts, predictions, seconds), sink_s=sink_s)


def start_ray(address: str | None) -> None:
    """Join the cluster at ``address`` (or of ``RAY_ADDRESS``), or start Ray inside this process.

    A Ray inside this process gets logical CPUs to spare, so that the tasks that read and write never wait for those
    that an engine holds; how many threads an engine computes with is set apart from that.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    few_heaps()  # before Ray's own processes start
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
    """Return what a task or an actor raised, without Ray's wrapping, its advice and the worker's traceback."""
    cause: Exception = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    cause.args = tuple(arg.partition(_ADVICE)[0] if isinstance(arg, str) else arg for arg in cause.args)
    return cause


def run_tasks(function: Callable[..., Any], calls: Sequence[Sequence[Any]], *, together: int = 1) -> Iterator[Any]:
    """Run a function as Ray tasks over lists of arguments; yield the results, and raise errors, as they come.

    Args:
        function: Travels to the workers.
        calls: Its arguments, call by call.
        together: So many calls share a task: where one takes milliseconds, starting tasks and workers would take more.
            Where they all fit into one, they run in this process, which need not wait for a worker to start.
    """
    if len(calls) <= together != 1:
        yield from _run_calls(function, calls)
        return
    task: Any = ray.remote(num_cpus=1, max_retries=3, runtime_env=SCORING_WORKERS)(_run_calls)
    task = task.options(name=function.__name__)
    parts = (calls[start : start + together] for start in range(0, len(calls), together))
    waiting = [task.remote(function, part) for part in itertools.islice(parts, TASKS_AT_ONCE)]
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        try:
            (results,) = ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise cause_of(error) from error
        yield from results
        waiting += [task.remote(function, part) for part in itertools.islice(parts, 1)]


def _run_calls(function: Callable[..., Any], calls: Sequence[Sequence[Any]]) -> list[Any]:
    return [function(*arguments) for arguments in calls]
