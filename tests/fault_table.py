"""What faults cost, counted from the files of runs by the tests that inject them; pytest prints it as one table."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.seal import IDENTITY

UnitKey = tuple[str, str]
"""Folder of a model's configuration, and a unit in it."""


@dataclass(frozen=True)
class Try:
    """One question to an engine, as it stands on record."""

    unit: UnitKey
    post: int | None
    pid: int
    place: str


@dataclass(frozen=True)
class RunFiles:
    """A run as its files show it."""

    root: Storage
    run_id: str

    @property
    def table(self) -> bytes:
        """The bytes of the results table."""
        return self.root.read(RunFolder(self.run_id).results)

    def _files(self) -> list[str]:
        return self.root.list_files(RunFolder(self.run_id).root)

    def units(self) -> dict[UnitKey, str]:
        """Return the files of the units that are done."""
        split = {path: path.removesuffix(".parquet").split("/predictions/") for path in self._files()}
        return {(where[0], where[1]): path for path, where in split.items() if len(where) == 2}

    def seals(self) -> dict[str, bytes]:
        """Return the seal of each model, by its path."""
        return {path: self.root.read(path) for path in self._files() if path.endswith("/_SUCCESS.json")}

    def identities(self) -> Counter[tuple[object, ...]]:
        """Count the predictions by identity."""
        contents = [self.root.read(path) for path in self.units().values()]
        tables = [pq.read_table(io.BytesIO(content), columns=list(IDENTITY)) for content in contents]
        return Counter(tuple(row[name] for name in IDENTITY) for row in pa.concat_tables(tables).to_pylist())

    def tries(self) -> Iterator[Try]:
        """Yield what engines were asked."""
        for path in self._files():
            folder, found, name = path.partition("/attempts/")
            if found and "/try-" in name:
                record = json.loads(self.root.read(path))
                yield Try((folder, record["unit_id"]), record["post"], record["pid"], record["place"])

    def engine_calls(self) -> Counter[UnitKey]:
        """Count how often an engine was asked each unit.

        A unit whose posts were asked alone was asked once by that, and once more by each repetition of a post.
        """
        calls: Counter[UnitKey] = Counter()
        alone: set[tuple[UnitKey, int | None]] = set()
        for one in self.tries():
            first_alone = one.post is not None and not any(unit == one.unit for unit, _ in alone)
            calls[one.unit] += one.post is None or first_alone or (one.unit, one.post) in alone
            if one.post is not None:
                alone.add((one.unit, one.post))
        return calls

    def in_flight(self, pids: Collection[int] | None = None) -> set[UnitKey]:
        """Return the units that engines (by default all that ever were) have been asked and that are not durable."""
        asked = {one.unit for one in self.tries() if pids is None or one.pid in pids}
        return asked - set(self.units())


@dataclass(frozen=True)
class Cost:
    """What a disturbed run lost, and did twice.

    Attributes:
        lost: Predictions of the undisturbed run that are not there.
        duplicated: Predictions that stand again, or that the undisturbed run does not have.
        repeated: Engine calls beyond those of the undisturbed run; None where no run was made.
        at_most: Bound of that: the units in flight when the faults struck.
        identical: Whether results table and seals are the same bytes; None where errors are part of the outcome.
    """

    lost: int
    duplicated: int
    repeated: int | None = None
    at_most: int | None = None
    identical: bool | None = None

    @classmethod
    def between(cls, disturbed: RunFiles, undisturbed: RunFiles, at_most: int, *, same_answers: bool = True) -> Cost:
        """Count what a disturbed run cost over an undisturbed one."""
        found, expected = disturbed.identities(), undisturbed.identities()
        same = disturbed.table == undisturbed.table and disturbed.seals() == undisturbed.seals()
        return cls(
            lost=(expected - found).total(),
            duplicated=(found - expected).total(),
            repeated=disturbed.engine_calls().total() - undisturbed.engine_calls().total(),
            at_most=at_most,
            identical=same if same_answers else None,
        )

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.lost + other.lost,
            self.duplicated + other.duplicated,
            None if self.repeated is None or other.repeated is None else self.repeated + other.repeated,
            None if self.at_most is None or other.at_most is None else self.at_most + other.at_most,
            None if self.identical is None or other.identical is None else self.identical and other.identical,
        )


@dataclass
class FaultTable:
    """The costs of all faults of a session."""

    rows: dict[str, tuple[int, Cost]] = field(default_factory=dict)

    def add(self, fault: str, cost: Cost, *, times: int = 1) -> None:
        """Enter what a fault cost; fail where that is more than is promised."""
        self.join([(fault, times, dataclasses.astuple(cost))])
        assert cost.lost == 0, cost
        assert cost.duplicated == 0, cost
        assert cost.identical is not False, cost
        assert cost.repeated is None or cost.at_most is None or 0 <= cost.repeated <= cost.at_most, cost

    def plain(self) -> list[tuple[str, int, tuple[int | bool | None, ...]]]:
        """Return the rows as what processes can send each other."""
        return [(fault, times, dataclasses.astuple(cost)) for fault, (times, cost) in self.rows.items()]

    def join(self, plain: Iterable[tuple[str, int, tuple[Any, ...]]]) -> None:
        """Add the rows of another process."""
        for fault, times, cost in plain:
            before, sum_ = self.rows.get(fault, (0, Cost(0, 0)))
            self.rows[fault] = (before + times, Cost(*cost) if not before else sum_ + Cost(*cost))

    def lines(self) -> list[str]:
        """Return the table in Markdown."""
        head = ["fault", "times", "posts lost", "duplicated", "engine calls repeated", "at most", "table identical"]
        body = [
            [fault, str(times), *map(_shown, (c.lost, c.duplicated, c.repeated, c.at_most, c.identical))]
            for fault, (times, c) in self.rows.items()
        ]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        rule = ["-" * width for width in widths]
        return [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in (head, rule, *body)
        ]


def _shown(value: int | bool | None) -> str:
    return {None: "–", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)
