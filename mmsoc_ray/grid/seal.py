"""Sealing: a model's predictions are complete when every unit is there and every row stands once."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage, write_changed
from mmsoc_ray.errors import StorageError
from mmsoc_ray.grid.keys import canonical_json
from mmsoc_ray.grid.record import RecordedModel
from mmsoc_ray.grid.run_folder import RunFolder

UNITS_A_TASK = 32
"""A unit is counted in some milliseconds; a process that counts takes a second to start."""


class RunTasks(Protocol):
    """Runs a function over lists of arguments, wherever; gives the results as they come."""

    def __call__(
        self, function: Callable[..., Any], calls: Sequence[Sequence[Any]], *, together: int = 1
    ) -> Iterable[Any]:
        """Run so many calls together, one after another."""
        ...


IDENTITY = ("model", "adapter", "setting", "task", "post_key", "round")
"""Columns that tell a prediction from all others within its configuration."""

DIGESTED = (*IDENTITY, "row_key", "output", "error", "label_scores", "score")
"""Columns that digests cover: what was asked and answered, never when, how fast or in which file."""


@dataclass(frozen=True)
class UnitSeal:
    """What was counted in a unit's file.

    Attributes:
        unit_id: The unit.
        rows: Its rows.
        digest: Digest of their content.
        sha256: Digest of the file's bytes, which hold times of day and so differ from run to run.
    """

    unit_id: str
    rows: int
    digest: str
    sha256: str = ""


class SealError(RuntimeError):
    """A unit's file does not hold what was planned; the message names the file."""


def count_unit(root: Storage, path: str, unit_id: str, rows: int) -> UnitSeal:
    """Read a unit's file and count it.

    Args:
        root: Output root.
        path: The file.
        unit_id: The unit.
        rows: Planned number of rows.

    Raises:
        SealError: Where the file cannot be read, rows are missing or too many, or an identity stands twice.
        StorageError: Where the store does not answer.
    """
    try:
        content = root.read(path)
        table = read_predictions(content, columns=DIGESTED)
    except StorageError:  # a store that does not answer says nothing about the file
        raise
    except (OSError, pa.ArrowException) as error:
        raise SealError(unreadable(root, path, error)) from error
    identities = set(zip(*(table.column(name).to_pylist() for name in IDENTITY), strict=True))
    if table.num_rows != rows or len(identities) != rows:
        raise SealError(
            f"{root.uri}/{path}: {table.num_rows} rows, {len(identities)} of them distinct, where {rows} were planned. "
            f"Delete the file and run again."
        )
    return UnitSeal(unit_id, rows, content_digest(table), hashlib.sha256(content).hexdigest())


def read_predictions(content: bytes, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a unit's file from its bytes, the checksum of every page verified.

    Raises:
        pyarrow.ArrowException, OSError: Where it is no such file, or damaged.
    """
    file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
    return file.read(columns=None if columns is None else list(columns))


def unreadable(root: Storage, path: str, error: Exception) -> str:
    """Return what is said of a unit's file that cannot be read."""
    return f"{root.uri}/{path}: cannot be read ({' '.join(str(error).split())}). Delete the file and run again."


def content_digest(table: pa.Table) -> str:
    """Return the digest of predictions over ``DIGESTED``, whatever their order."""
    rows = map(canonical_json, zip(*(table.column(name).to_pylist() for name in DIGESTED), strict=True))
    total = hashlib.sha256()
    for row in sorted(rows):
        total.update(row + b"\n")
    return total.hexdigest()


def seal_content(config: Mapping[str, Any], seals: Iterable[UnitSeal]) -> bytes:
    """Return the content of a ``_SUCCESS.json``: units, counts, content digests."""
    units = sorted(seals, key=lambda seal: seal.unit_id)
    content = {
        "configuration": dict(config),
        "units": {seal.unit_id: {"rows": seal.rows, "digest": seal.digest} for seal in units},
        "rows": sum(seal.rows for seal in units),
        "digest": hashlib.sha256("".join(seal.digest for seal in units).encode()).hexdigest(),
    }
    return json.dumps(content, indent=1, sort_keys=True).encode()


def checksums_content(seals: Iterable[UnitSeal]) -> bytes:
    """Return the content of a ``checksums.json``: the SHA-256 of each unit's file, as it was when it was counted."""
    sums = {seal.unit_id: seal.sha256 for seal in seals}
    return json.dumps(sums, indent=1, sort_keys=True).encode()


def missing_units(present: Sequence[str], planned: Sequence[str]) -> list[str]:
    """Return the planned units without a file.

    Args:
        present: Paths of the files that are there.
        planned: Ids of the planned units.
    """
    done = {path.rsplit("/", 1)[-1].removesuffix(".parquet") for path in present}
    return [unit_id for unit_id in planned if unit_id not in done]


def seal_model(
    root: Storage, folder: RunFolder, model: RecordedModel, run_tasks: RunTasks, *, again: bool = False
) -> None:
    """Count every unit of a model; write checksums and, last, its marker. Does nothing where a unit is missing.

    Args:
        root: Output root.
        folder: The run.
        model: The model.
        run_tasks: Runs the counting.
        again: Count although the marker is there.

    Raises:
        SealError: A file does not hold what was planned.
    """
    marker = folder.seal(model.name, model.config)
    present = root.list_files(folder.predictions(model.name, model.config))
    if missing_units(present, [unit.unit_id for unit in model.units]) or (root.exists(marker) and not again):
        return
    calls = [
        (root, folder.unit(model.name, model.config, unit.unit_id), unit.unit_id, unit.rows) for unit in model.units
    ]
    seals: list[UnitSeal] = list(run_tasks(count_unit, calls, together=UNITS_A_TASK))
    write_changed(root, folder.checksums(model.name, model.config), checksums_content(seals))
    write_changed(root, marker, seal_content(model.configuration, seals))
