"""Sealing: a model's predictions are complete when every unit is there and every row stands once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage
from mmsoc_ray.grid.keys import canonical_json

IDENTITY = ("model", "adapter", "setting", "task", "post_key", "round")
"""Columns that tell a prediction from all others within its configuration."""

DIGESTED = (*IDENTITY, "row_key", "output", "error", "label_scores", "score")
"""Columns that digests cover: what was asked and answered, never when, how fast or in which file."""


@dataclass(frozen=True)
class UnitSeal:
    """What was counted in a unit's file: its rows and the digest of their content."""

    unit_id: str
    rows: int
    digest: str


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
    """
    try:
        with root.open_input(path) as handle:
            table = pq.ParquetFile(handle).read(columns=list(DIGESTED))
    except (OSError, pa.ArrowException) as error:
        raise SealError(unreadable(root, path, error)) from error
    identities = set(zip(*(table.column(name).to_pylist() for name in IDENTITY), strict=True))
    if table.num_rows != rows or len(identities) != rows:
        raise SealError(
            f"{root.uri}/{path}: {table.num_rows} rows, {len(identities)} of them distinct, where {rows} were planned. "
            f"Delete the file and run again."
        )
    return UnitSeal(unit_id, rows, content_digest(table))


def unreadable(root: Storage, path: str, error: Exception) -> str:
    """Return what is said of a unit's file that cannot be read."""
    return f"{root.uri}/{path}: cannot be read ({' '.join(str(error).split())}). Delete the file and run again."


def content_digest(table: pa.Table) -> str:
    """Return the digest of predictions over ``DIGESTED``, whatever their order."""
    rows = (canonical_json(list(row.values())) for row in table.select(list(DIGESTED)).to_pylist())
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


def missing_units(present: Sequence[str], planned: Sequence[str]) -> list[str]:
    """Return the planned units without a file.

    Args:
        present: Paths of the files that are there.
        planned: Ids of the planned units.
    """
    done = {path.rsplit("/", 1)[-1].removesuffix(".parquet") for path in present}
    return [unit_id for unit_id in planned if unit_id not in done]
