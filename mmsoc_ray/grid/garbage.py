"""Garbage below an output root: what no manifest or card refers to, and no run or training can still want."""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mmsoc_ray.data import Storage, StoredFile
from mmsoc_ray.data.storage import TEMPORARY_PREFIX
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.record import RunRecord, read_record
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.training.adapters import ADAPTERS, DIGITS, read_card
from mmsoc_ray.training.drivers import TRAINING

ROOMS = ("runs", "results", "manifests", "words")
"""Folders of an output root that runs write to. Whatever else lies there is somebody's own and is never looked at."""

_OURS = re.compile(
    r"runs/[^/]+/(plan\.json|comparisons\.json|model=[^/]+/config=c[^/]*/.+|cells/.+|examples/[^/]+|stats/[^/]+\.json)"
    r"|results/run_id=[^/]+/.+|manifests/[^/]+\.json|words/[0-9a-f]{12}/[^/]+\.json"
    rf"|.+/{re.escape(TEMPORARY_PREFIX)}\d+-[0-9a-f]+"
)
"""What runs write. Other programs have folders named ``runs`` and ``results``, too."""


_NAME = r"(?P<name>[A-Za-z0-9][\w.-]*-[0-9a-f]{12})"
_CHECKPOINT_FILE = re.compile(rf"{TRAINING}/{_NAME}/.*")
_ADAPTER_FILE = re.compile(rf"{ADAPTERS}/{_NAME}/(?P<digest>[0-9a-f]{{{DIGITS}}})/(?P<file>.+)")
"""What trainings write."""


@dataclass(frozen=True)
class Garbage:
    """A file that may go.

    Attributes:
        file: The file.
        reason: Why nothing wants it.
    """

    file: StoredFile
    reason: str


@dataclass(frozen=True)
class _Run:
    """A run as garbage collection sees it.

    Attributes:
        parts: The files that its manifest stands for; None for a run that may still be taken up.
        written: When anything of it was last written.
        words: Digests of the OCR engines whose words it uses.
    """

    parts: frozenset[str] | None
    written: datetime
    words: frozenset[str]


def find_garbage(
    root: Storage, *, now: datetime, older_than: timedelta, unfinished: timedelta | None = None
) -> Iterator[Garbage]:
    """Yield the files below a root that no manifest and no adapter's card refers to.

    Manifests, and what their runs and tables consist of, are never yielded. Neither is a run that is not finished, nor
    a training whose adapter is not stored: they can be taken up.

    Args:
        root: Output root.
        now: The time.
        older_than: Younger files may belong to a run that is under way, and stay.
        unfinished: Take runs without a complete manifest and trainings without a card, too, that nobody has written to
            for so long.

    Raises:
        ConfigurationError: A manifest, a plan or a card cannot be read: what it refers to is not known, so nothing may
            go.
    """
    files = [file for room in ROOMS for file in root.stored_files(room)]
    runs = _runs(root, files)
    for file in files:
        if now - file.modified > older_than and _OURS.fullmatch(file.path):
            reason = _reason(file.path, runs)
            run = runs.get(_run_id(file.path))
            if reason is None and unfinished is not None and run is not None and run.parts is None:
                idle = now - run.written
                reason = f"its run is not finished and was left {idle.days} days ago" if idle > unfinished else None
            if reason is not None:
                yield Garbage(file, reason)
    left = (*_left_by_trainings(root, now, unfinished), *_left_by_adapters(root))
    yield from (item for item in left if now - item.file.modified > older_than)


def _left_by_trainings(root: Storage, now: datetime, unfinished: timedelta | None) -> Iterator[Garbage]:
    """Yield what drivers left that ended before they could tidy: a training whose adapter is stored wants nothing."""
    trainings = defaultdict[str, list[StoredFile]](list)
    for file in root.stored_files(TRAINING):
        if match := _CHECKPOINT_FILE.fullmatch(file.path):
            trainings[match["name"]].append(file)
    for name, files in trainings.items():
        idle = now - max(file.modified for file in files)
        if read_card(root, name) is not None:
            yield from (Garbage(file, "its adapter is stored") for file in files)
        elif unfinished is not None and idle > unfinished:
            yield from (
                Garbage(file, f"its training is not finished and was left {idle.days} days ago") for file in files
            )


def _left_by_adapters(root: Storage) -> Iterator[Garbage]:
    """Yield files of adapters that were not the first of their name, and writes that were not finished."""
    card_of = functools.cache(functools.partial(read_card, root))
    for file in root.stored_files(ADAPTERS):
        match = _ADAPTER_FILE.fullmatch(file.path)
        card = card_of(match["name"]) if match else None
        if match and card and (match["digest"] != card.digest[:DIGITS] or match["file"] not in card.files):
            yield Garbage(file, "no part of what its adapter's card stands for")


def in_order_of_removal(paths: Iterable[str]) -> list[str]:
    """Return paths as they are removed: manifests first, plans last.

    So nobody follows a manifest to files that are gone, and what is left where removing is cut short still has a plan.
    """
    return sorted(paths, key=lambda path: (not path.startswith("manifests/"), path.endswith("/plan.json"), path))


def _runs(root: Storage, files: list[StoredFile]) -> dict[str, _Run]:
    """Return the runs that have a plan."""
    paths = {file.path for file in files}
    written: dict[str, datetime] = {}
    for file in files:
        run_id = _run_id(file.path)
        written[run_id] = max(file.modified, written.get(run_id, file.modified))
    runs = {}
    for run_id in sorted(written):
        plan, manifest = f"runs/{run_id}/plan.json", f"manifests/{run_id}.json"
        if manifest in paths and plan not in paths:
            raise ConfigurationError(
                f"{root.uri}/{manifest} speaks of {plan}, which is not there. Restore it, or delete the manifest; "
                f"nothing is removed before."
            )
        if plan in paths:
            folder = RunFolder(run_id)
            record = read_record(root, folder)
            complete = manifest in paths and _is_complete(root, manifest)
            words = {str(model.configuration["words"]) for model in record.models}
            parts = frozenset(_parts(folder, record)) if complete else None
            runs[run_id] = _Run(parts, written[run_id], frozenset(words))
    return runs


def _is_complete(root: Storage, manifest: str) -> bool:
    try:
        return bool(json.loads(root.read(manifest))["status"] == "complete")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{root.uri}/{manifest}: cannot be read ({error}). Restore it, or delete it and run mmsoc aggregate; "
            f"nothing is removed before."
        ) from error


def _parts(folder: RunFolder, record: RunRecord) -> Iterator[str]:
    yield from (folder.plan, folder.results, folder.comparisons, folder.manifest)
    for model in record.models:
        yield folder.seal(model.name, model.config)
        yield folder.checksums(model.name, model.config)
        yield from (folder.unit(model.name, model.config, unit.unit_id) for unit in model.units)
        yield from (f"{folder.root}/{cell.path}" for cell in model.cells)


def _reason(path: str, runs: Mapping[str, _Run]) -> str | None:
    """Return why nothing wants a file; None for one that is wanted."""
    room, *_, name = path.split("/")
    if name.startswith(TEMPORARY_PREFIX):
        return "a write that was not finished"
    if room == "manifests":
        return None
    if room == "words":
        used = any(path.split("/")[1] in digest for run in runs.values() for digest in run.words)
        return None if used else "words of an OCR engine that no run uses"
    run = runs.get(_run_id(path))
    if run is None:
        return "its run has neither plan nor manifest"
    # Example pictures belong to the run: the keys of its answers name them. So does what it cost.
    if run.parts is None or path in run.parts or path.split("/")[2] in ("examples", "stats"):
        return None
    return "no part of what its run's manifest stands for"


def _run_id(path: str) -> str:
    """Return the run that a file belongs to; empty for words."""
    room, rest = path.split("/", 1)
    if room == "manifests":
        return rest.removesuffix(".json")
    return "" if room == "words" else rest.split("/", 1)[0].removeprefix("run_id=")
