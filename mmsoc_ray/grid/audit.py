"""The audit of a run: everything that its files claim, counted and computed again from the predictions."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmsoc_ray.data import Storage
from mmsoc_ray.errors import ConfigurationError, StorageError
from mmsoc_ray.grid.aggregate import check_cell
from mmsoc_ray.grid.keys import digest, row_key
from mmsoc_ray.grid.plan import BASE_ADAPTER
from mmsoc_ray.grid.record import RecordedModel, RecordedUnit, RunRecord, config_of, read_record
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.scores import (
    UNDER_WAY,
    cell_jobs,
    comparisons_of,
    in_order,
    read_manifest,
    table_and_manifest,
)
from mmsoc_ray.grid.scoring import RULES
from mmsoc_ray.grid.seal import (
    IDENTITY,
    UNITS_A_TASK,
    RunTasks,
    UnitSeal,
    checksums_content,
    content_digest,
    missing_units,
    read_predictions,
    seal_content,
)
from mmsoc_ray.results.schema import PREDICTION_SCHEMA
from mmsoc_ray.tasks import rounds

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class UnitAudit:
    """What was found in a unit's file.

    Attributes:
        seal: Its counts and digests; None where it cannot be read.
        lies: What is wrong with it; empty for a good file.
        posts: 64-bit hashes of its posts' keys.
    """

    seal: UnitSeal | None
    lies: tuple[str, ...]
    posts: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))


@dataclass
class Audit:
    """What an audit has counted so far.

    Attributes:
        units: Files of predictions read.
        rows: Predictions in them.
        cells: Cells computed again.
        incomplete: Units and cells that the plan has and the run does not claim to have finished.
    """

    units: int = 0
    rows: int = 0
    cells: int = 0
    incomplete: list[str] = field(default_factory=list)


def audit_run(root: Storage, folder: RunFolder, record: RunRecord, run_tasks: RunTasks, audit: Audit) -> Iterator[str]:
    """Yield every lie of a run: what its files claim and does not hold. An honest run yields none.

    The plan against the names of its folders; every unit's file against the plan, its schema, its keys (each computed
    again), its seal and its checksum; no file and no post that should not be there; every cell's scores, the results
    table and the manifest computed again from the predictions.

    Args:
        root: Output root.
        folder: The run.
        record: Its plan.
        run_tasks: Runs the reading and scoring.
        audit: Counts along.
    """
    yield from _plan_lies(root, folder, record)
    manifest = read_manifest(root, folder)
    for model in record.models:
        yield from _model_lies(root, folder, model, run_tasks, audit, (manifest or {}).get("status"))
    yield from _score_lies(root, folder, record, run_tasks, audit, manifest)


def _plan_lies(root: Storage, folder: RunFolder, record: RunRecord) -> Iterator[str]:
    where = f"{root.uri}/{folder.plan}"
    if record.run_id != folder.run_id:
        yield f"{where}: is the plan of run {record.run_id!r}"
    cells: dict[str, int] = {cell.path: posts for model in record.models for cell, posts in model.cells.items()}
    if len(cells) != len(record.content["cells"]):
        yield f"{where}: has {len(record.content['cells'])} cells, {len(cells)} of them distinct and of its models"
    for model in record.models:
        recorded = record.content["models"][model.key]
        if model.config != config_of(model.configuration):
            yield f"{where}: models.{model.key}.config is {model.config}, its configuration gives another hash"
        if model.configuration["units"] != digest([[unit.unit_id, unit.posts] for unit in model.units]):
            yield f"{where}: the units of {model.key} are not those of its configuration"
        requests = sum(unit.rows for unit in model.units)
        if (recorded["units"], recorded["requests"]) != (len(model.units), requests):
            yield f"{where}: models.{model.key} counts other units or requests than its units have"
        for cell, posts in model.cells.items():
            if posts != sum(unit.posts for unit in model.units if unit.dataset == cell.dataset):
                yield f"{where}: cell {cell.identity} has {posts} posts, its units have others"


def _model_lies(
    root: Storage, folder: RunFolder, model: RecordedModel, run_tasks: RunTasks, audit: Audit, status: str | None
) -> Iterator[str]:
    predictions = folder.predictions(model.name, model.config)
    present = root.list_files(predictions)
    planned = {folder.unit(model.name, model.config, unit.unit_id): unit for unit in model.units}
    for path in sorted(set(present) - set(planned)):
        yield f"{root.uri}/{path}: is no unit of the plan"
    seal_path = folder.seal(model.name, model.config)
    sealed = status != UNDER_WAY and root.exists(seal_path)
    missing = missing_units(present, [unit.unit_id for unit in model.units])
    if sealed:
        for unit_id in missing:
            yield f"{root.uri}/{folder.unit(model.name, model.config, unit_id)}: is sealed, and not there"
    elif status == "complete":
        yield f"{root.uri}/{seal_path}: is not there, and the manifest says that the run is complete"
    elif missing:
        audit.incomplete.append(f"{model.name}: {len(missing)} of {len(model.units)} units are not answered yet")
    else:
        audit.incomplete.append(f"{model.name}: all units are there, and not sealed yet")
    there, alone = set(present), dataclasses.replace(model, units=(), cells={})  # a task wants one unit, not all
    calls = [(root, path, folder.run_id, alone, unit) for path, unit in planned.items() if path in there]
    seals: list[UnitSeal] = []
    posts: dict[str, list[Hashes]] = {}
    for found in run_tasks(audit_unit, calls, together=UNITS_A_TASK):
        yield from found.lies
        if found.seal is not None:
            seals.append(found.seal)
            audit.units += 1
            audit.rows += found.seal.rows
            posts.setdefault(found.seal.unit_id.rsplit("-", 2)[0], []).append(found.posts)
    for name, hashes in posts.items():
        together = np.concatenate(hashes)
        if len(np.unique(together)) != len(together):
            yield f"{root.uri}/{predictions}: posts of {name} stand in more than one unit"
    if sealed and len(seals) == len(model.units):
        yield from _differs(root, seal_path, seal_content(model.configuration, seals), "what its units hold")
        sums = folder.checksums(model.name, model.config)
        yield from _differs(root, sums, checksums_content(seals), "the bytes of its units' files")


def _differs(root: Storage, path: str, expected: bytes, what: str) -> Iterator[str]:
    try:
        found = root.read(path)
    except FileNotFoundError:
        yield f"{root.uri}/{path}: is not there"
        return
    if found != expected:
        yield f"{root.uri}/{path}: does not say {what}"


def _score_lies(
    root: Storage,
    folder: RunFolder,
    record: RunRecord,
    run_tasks: RunTasks,
    audit: Audit,
    manifest: Mapping[str, Any] | None,
) -> Iterator[str]:
    under_way = manifest is not None and manifest.get("status") == UNDER_WAY
    jobs = cell_jobs(root, folder, record)
    planned = {f"{folder.root}/{job.cell.path}" for job in jobs}
    for path in sorted(set(root.list_files(folder.cells)) - planned):
        yield f"{root.uri}/{path}: is no cell of the plan"
    for path in sorted(set(root.list_files(folder.results.rsplit("/", 1)[0])) - {folder.results}):
        yield f"{root.uri}/{path}: does not belong to the results"
    if manifest is None or under_way:
        why = "its manifest says that it is under way" if under_way else "the run has no manifest yet"
        audit.incomplete.append(f"{why}: its cells were not aggregated")
        return
    cells = []
    for cell, lie in run_tasks(check_cell, [(job,) for job in jobs]):
        cells.append(cell)
        audit.cells += 1
        if lie is not None:
            yield lie
        if not cell.complete:
            audit.incomplete.append(f"cell {cell.cell.identity}: {cell.found} of {cell.expected} posts")
    compared = comparisons_of(root, folder, record, cells, run_tasks)
    table, expected = table_and_manifest(root, folder, record, in_order(cells), compared)
    yield from _differs(root, folder.results, table, "what the cells give")
    if compared is not None:
        yield from _differs(root, folder.comparisons, compared, "what its cells gained")
    yield from _differs(root, folder.manifest, expected, "what the run holds")


def audit_unit(root: Storage, path: str, run_id: str, model: RecordedModel, unit: RecordedUnit) -> UnitAudit:
    """Read a unit's file and check all of it that can be computed again."""
    where = f"{root.uri}/{path}"
    try:
        content = root.read(path)
        table = read_predictions(content)
    except StorageError:  # a store that does not answer says nothing about the file
        raise
    except (OSError, pa.ArrowException) as error:
        return UnitAudit(None, (f"{where}: cannot be read ({' '.join(str(error).split())})",))
    if table.schema.names != PREDICTION_SCHEMA.names:
        return UnitAudit(None, (f"{where}: has other columns than a unit of predictions",))
    lies = list(_row_lies(table, run_id, model, unit))
    seal = UnitSeal(unit.unit_id, table.num_rows, content_digest(table), hashlib.sha256(content).hexdigest())
    keys = sorted(set(table.column("post_key").to_pylist()))
    hashes = np.array([int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) for key in keys], np.uint64)
    return UnitAudit(seal, tuple(f"{where}: {lie}" for lie in lies), hashes)


def _row_lies(table: pa.Table, run_id: str, model: RecordedModel, unit: RecordedUnit) -> Iterator[str]:
    rows = table.to_pylist()
    if len(rows) != unit.rows:
        yield f"{len(rows)} rows, {unit.rows} were planned"
    if len({tuple(row[name] for name in IDENTITY) for row in rows}) != len(rows):
        yield "a prediction stands twice"
    if (posts := len({row["post_key"] for row in rows})) != unit.posts:
        yield f"{posts} posts, {unit.posts} were planned"
    constant = {"run_id": run_id, "unit_id": unit.unit_id, "model": model.name}
    constant |= {"dataset": unit.dataset, "split": model.configuration["datasets"][unit.dataset]["split"]}
    for name, value in constant.items():
        if others := {row[name] for row in rows} - {value}:
            yield f"{name} is {sorted(map(str, others))[0]!r} where {value!r} was planned"
    questions = {(q["setting"], q["task"]): q for q in model.configuration["questions"] if q["dataset"] == unit.dataset}
    answerer = model.configuration["datasets"][unit.dataset]["answerer"]
    for row in rows:
        identity = "/".join(str(row[name]) for name in IDENTITY)
        question = questions.get((row["setting"], row["task"]))
        if question is None or row["round"] not in range(rounds(row["setting"])):
            yield f"{identity} was not asked"
        elif row["adapter"] != (adapter := question.get("adapter", BASE_ADAPTER)):
            yield f"{identity}: adapter is {row['adapter']!r} where {adapter!r} was planned"
        elif row["row_key"] != _key_of(row, question, answerer):
            yield f"the row_key of {identity} is not that of its prompt, picture and configuration"
        if (row["output"] is None) == (row["error"] is None):
            yield f"{identity} has both an output and an error, or neither"


def _key_of(row: Mapping[str, Any], question: Mapping[str, Any], answerer: Mapping[str, Any]) -> str:
    if "adapter_digest" in question:
        answerer = {**answerer, "adapter_digest": question["adapter_digest"]}
    return row_key(
        answerer,
        task=row["task"],
        prompt=row["prompt"],
        image_sha256=row["image_sha256"],
        max_new_tokens=question["max_new_tokens"],
        labels=question.get("scored"),
        example_images=question.get("example_images", ()),
        places=question.get("places", ()),
        own_task={name: question[name] for name in ("kind", "answers") if name in question},
    )


def read_audited(root: Storage, folder: RunFolder) -> tuple[RunRecord | None, str | None]:
    """Read the plan of a run that is to be audited.

    Returns:
        The plan, where it can be read, and what is wrong with it, or None.

    Raises:
        ConfigurationError: There is no such run.
    """
    plan, manifest = root.exists(folder.plan), read_manifest(root, folder)
    if manifest is not None and not plan:
        return None, f"{root.uri}/{folder.plan}: is not there, and the manifest speaks of it"
    try:
        record = read_record(root, folder)
    except ConfigurationError as error:
        if plan:
            return None, str(error)
        raise
    if manifest is None:
        return record, None
    try:
        stated = manifest["plan"]["sha256"]
    except (KeyError, TypeError):
        return record, f"{root.uri}/{folder.manifest}: is no manifest of this version"
    if manifest.get("status") != UNDER_WAY and stated != hashlib.sha256(root.read(folder.plan)).hexdigest():
        return record, f"{root.uri}/{folder.plan}: is not the plan that the manifest speaks of"
    for rules, version in RULES.items():
        if (found := record.scoring.get(rules)) != version:
            raise ConfigurationError(
                f"{root.uri}/{folder.root} was scored by version {found} of the rules for {rules}, and this is version "
                f"{version}. Score it again first: mmsoc aggregate {root.uri}/{folder.root}."
            )
    return record, None
