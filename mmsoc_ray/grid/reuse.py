"""Reuse across runs: which earlier runs have answers of a model, and what stands in their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage
from mmsoc_ray.engines import PROMPT_ERROR, engine_version
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.keys import digest
from mmsoc_ray.grid.known_answers import KnownAnswers
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.wire import KNOWN_SCHEMA

READERS = 16
"""Threads that read earlier files: on S3 each of them waits most of the time."""

_INDEXED = ["row_key", "error", "engine_version", "reused_from"]
_TAKEN = [name for name in KNOWN_SCHEMA.names if name != "reused_from"]
_DAMAGE = (OSError, LookupError, TypeError, ValueError, AttributeError, pa.ArrowException)
"""What reading a file of unknown content may raise."""

Note = Callable[[str], None]


class ReusePolicy(StrEnum):
    """Which answers of earlier runs a run takes over: those of the same engine version, those of any, or none."""

    same_version = "same_version"
    any = "any"
    none = "none"


@dataclass(frozen=True)
class EarlierRun:
    """A model of an earlier run.

    Attributes:
        run_id: The run.
        predictions: Folder of the units' files.
        units: Planned number of units.
        rows: Planned number of predictions.
        answerers: Digests of what answered (``Answerer.content``), over the datasets.
    """

    run_id: str
    predictions: str
    units: int
    rows: int
    answerers: frozenset[str]


def earlier_runs(root: Storage, run_id: str, note: Note) -> list[EarlierRun]:
    """Return the models of all other runs below a root, finished or not: each file of a unit is whole.

    Args:
        root: Output root.
        run_id: The run that asks.
        note: Told of each plan that cannot be read; that run has no say.
    """
    others = [other for other in root.list_folders("runs") if other != run_id]
    with ThreadPoolExecutor(READERS) as pool:
        read = list(pool.map(lambda other: _models_of(root, other), others))
    for found in read:
        if isinstance(found, str):
            note(f"nothing is taken over from a run whose plan cannot be read: {found}")
    return [model for found in read if not isinstance(found, str) for model in found]


def _models_of(root: Storage, run_id: str) -> list[EarlierRun] | str:
    """Return the models of a run, or why its plan cannot be read; a folder without a plan is no run."""
    try:
        folder = RunFolder(run_id)
        plan = json.loads(root.read(folder.plan))
        return [
            EarlierRun(
                run_id,
                folder.predictions(configuration["model"], plan["models"][key]["config"]),
                int(plan["models"][key]["units"]),
                int(plan["models"][key]["requests"]),
                frozenset(digest(dataset["answerer"]) for dataset in configuration["datasets"].values()),
            )
            for key, configuration in plan["configuration"]["models"].items()
        ]
    except FileNotFoundError:
        return []
    except _DAMAGE as error:
        return f"{root.uri}/runs/{run_id}/plan.json ({type(error).__name__}: {_short(error)})"


@dataclass(frozen=True)
class AnswerSource:
    """Where the known answers of a model come from.

    Attributes:
        runs: The earlier runs.
        version: The engine version that answers must have; None takes any.
    """

    runs: tuple[EarlierRun, ...] = ()
    version: str | None = None


def choose_runs(
    answerer: Answerer, datasets: Iterable[str], earlier: Sequence[EarlierRun], policy: ReusePolicy, note: Note
) -> AnswerSource:
    """Return which earlier runs may answer for a model.

    Args:
        answerer: The model as this run uses it.
        datasets: The datasets that it answers on.
        earlier: The models of earlier runs.
        policy: Which of their answers may be taken over.
        note: Told where there are some, and it cannot be known whether they are of the same engine version.
    """
    wanted = {digest(answerer.content(dataset)) for dataset in datasets}
    runs = tuple(run for run in earlier if run.answerers & wanted)
    if not runs or policy is ReusePolicy.none:
        return AnswerSource()
    if policy is ReusePolicy.any:
        return AnswerSource(runs)
    version = engine_version(answerer.entry)
    if version is None:
        note(f"{answerer.entry.name}: its engine's version is not known, so nothing is taken over; --reuse any would")
        return AnswerSource()
    return AnswerSource(runs, version)


def index_answers(root: Storage, source: AnswerSource, note: Note) -> KnownAnswers:
    """Index the answers of earlier runs.

    Rows with an error that asking again may mend are left out, and so are those of another engine version. What a run
    has taken over itself stands in the index once, with the run that it comes from: of a run every night, only what it
    has paid for is added.

    Args:
        root: Output root.
        source: The earlier runs.
        note: Told of each file that cannot be read; its answers are unknown.
    """
    index = KnownAnswers(sum(run.rows for run in source.runs))
    lenders: dict[EarlierRun, set[str | None]] = {}
    torn: set[str] = set()
    for run in source.runs:
        paths = _unit_files(root, run)
        if len(paths) != run.units:
            torn.add(run.run_id)
        for path, keys in _read_keys(root, paths, source.version):
            problem = keys if isinstance(keys, str) else _add(index, path, keys.get(None, ()))
            if problem:
                torn.add(run.run_id)
                note(f"nothing is taken over from {root.uri}/{path}: {problem}")
            else:
                lenders.setdefault(run, set()).update(keys)
    whole = {None, *(run.run_id for run in source.runs)} - torn
    for run in [run for run, borrowed in lenders.items() if borrowed - whole]:
        for path, keys in _read_keys(root, _unit_files(root, run), source.version):
            if not isinstance(keys, str):
                _add(index, path, [key for lender in set(keys) - whole for key in keys[lender]])
    index.sort()
    return index


def _unit_files(root: Storage, run: EarlierRun) -> list[str]:
    return [path for path in root.list_files(run.predictions) if path.endswith(".parquet")]


_KeysBySource = Mapping[str | None, Sequence[str]]
"""Keys of a file's answers by the run from which they were taken over, None where the engine was asked."""


def _read_keys(root: Storage, paths: Sequence[str], version: str | None) -> Iterator[tuple[str, _KeysBySource | str]]:
    """Yield each file with the keys of its answers, or with what is wrong with it."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(paths), 16 * READERS):
            some = paths[start : start + 16 * READERS]
            yield from zip(some, pool.map(lambda path: _keys_of(root, path, version), some), strict=True)


def _keys_of(root: Storage, path: str, version: str | None) -> _KeysBySource | str:
    try:
        table = _usable(_read(root, path, _INDEXED), version)
        sources, keys = table.column("reused_from"), table.column("row_key")
        return {
            source: keys.filter(sources.is_null() if source is None else pc.equal(sources, source)).to_pylist()
            for source in sources.unique().to_pylist()
        }
    except _DAMAGE as error:
        return _short(error)


def _add(index: KnownAnswers, path: str, keys: Sequence[str]) -> str | None:
    try:
        index.add(path, keys)
    except ValueError as error:
        return _short(error)
    return None


def _read(root: Storage, path: str, columns: list[str]) -> pa.Table:
    with root.open_input(path) as handle:
        return pq.ParquetFile(handle, page_checksum_verification=True).read(columns=columns).select(columns)


def _usable(table: pa.Table, version: str | None) -> pa.Table:
    """Return the rows with an answer, or with an error that the prompt alone has caused."""
    error = table.column("error")
    usable = pc.fill_null(pc.starts_with(error, PROMPT_ERROR), True)
    if version is not None:
        usable = pc.and_(usable, pc.fill_null(pc.equal(table.column("engine_version"), version), False))
    return table.filter(usable)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def read_answers(
    root: Storage, files: Mapping[str, Collection[str]], version: str | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read known answers out of earlier runs' files, those first that may hold the most.

    Args:
        root: Output root.
        files: Path of each file with the keys to look for in it.
        version: The engine version that answers must have; None takes any.

    Returns:
        A row of ``KNOWN_SCHEMA`` for each key that was found, and what is said of each file that cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    problems = []
    for path in sorted(files, key=lambda path: (-len(files[path]), path)):
        wanted = set(files[path]) - found.keys()
        if not wanted:
            continue
        try:
            table = _usable(_read(root, path, _TAKEN), version)
            rows = table.filter(pc.is_in(table.column("row_key"), pa.array(wanted, pa.string()))).to_pylist()
        except _DAMAGE as error:
            problems.append(f"nothing is taken over from {root.uri}/{path}: {_short(error)}")
            continue
        run_id = path.split("/")[1]
        found |= {row["row_key"]: {**row, "reused_from": run_id} for row in rows}
    return found, problems
