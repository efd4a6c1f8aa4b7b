"""A source becomes shards: two passes over its tables, one over its pictures.

The first pass reads ids and splits alone. The second reads the rows in order, converts slices of them side by side
(whoever calls says how), and writes the posts in order, so that the shards' bytes depend on the source only.
"""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mmsoc_ray.config.mapping import HEAD_SPLITS, SourceMapping
from mmsoc_ray.data.posts import Post
from mmsoc_ray.data.shards import POSTS_PER_UNIT, SplitManifest, SplitWriter
from mmsoc_ray.data.sources.convert import Converter, Placed, SourceRow, slices, value_of, written
from mmsoc_ray.data.sources.duplicates import Duplicates
from mmsoc_ray.data.sources.mismatch import check_columns
from mmsoc_ray.data.sources.report import Dropped, Reason, Report
from mmsoc_ray.data.sources.rows import Row, is_utf8
from mmsoc_ray.data.sources.tables import SUFFIXES, column_names, read_rows, suffix
from mmsoc_ray.data.storage import Storage
from mmsoc_ray.errors import ConfigurationError

STRICT_OFFENDERS = 20
"""A strict conversion ends once it has met so many rows that would be dropped."""

Convert = Callable[[Sequence[Placed]], list[Post | Dropped]]
MapSlices = Callable[[Convert, Iterable[list[Placed]]], Iterable[list[Post | Dropped]]]
"""Applies a function to every slice and yields the results in the order of the slices, as ``map`` does."""

_SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class Prepared:
    """A finished conversion.

    Attributes:
        report: What was read, kept and dropped.
        manifests: Manifest of every split written.
        others: Splits of the dataset that stood there before and were not written; another division into splits may
            have put the same posts into them.
    """

    report: Report
    manifests: tuple[SplitManifest, ...]
    others: tuple[str, ...]


def prepare_source(
    mapping: SourceMapping,
    source: Storage,
    data: Storage,
    *,
    strict: bool = False,
    map_slices: MapSlices = map,
) -> Prepared:
    """Convert a source into shards below ``<data>/<dataset>/``, with ``report.json`` beside the splits.

    Args:
        mapping: Which columns become what.
        source: Root of the source.
        data: Root of all datasets.
        strict: Check all rows first, and write nothing where one would be dropped.
        map_slices: How slices are converted; by default here, one after the other.

    Raises:
        ConfigurationError: Where files or columns are missing, nothing is kept, or ``strict`` found what it refuses.
    """
    conversion = _Conversion(mapping, source, _locate(mapping, source))
    if strict:
        _check(conversion, map_slices)
    return _write(conversion, data, map_slices)


def _locate(mapping: SourceMapping, source: Storage) -> dict[str, list[str]]:
    """Return the files of every split in order, each with all the columns."""
    located = {}
    for split, names in mapping.files.items():
        located[split] = [file for name in names for file in _matching(source, name)]
        for file in located[split]:
            check_columns(mapping, f"{source.uri}/{file}", column_names(source, file, mapping.delimiter))
    return located


def _matching(source: Storage, name: str) -> list[str]:
    if suffix(name) not in SUFFIXES:
        raise ConfigurationError(f"files: {name!r} is no table. Allowed: names that end in {', '.join(SUFFIXES)}.")
    if not any(mark in name for mark in "*?["):
        found = [name] if source.exists(name) else []
    else:
        folder = re.split(r"[*?\[]", name)[0].rpartition("/")[0]
        found = [file for file in source.list_files(folder) if fnmatch.fnmatchcase(file, name)]
    if not found:
        there = [file for file in source.list_files("") if suffix(file) in SUFFIXES]
        shown = ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
        raise ConfigurationError(
            f"{source.uri}/{name}: no such file. Tables there: {shown or '(none)'}. Name another --source, or mend the "
            f"field files of the mapping."
        )
    return found


class _Conversion:
    """Rows with their places, and what the first pass learned of them."""

    def __init__(self, mapping: SourceMapping, source: Storage, files: dict[str, list[str]]) -> None:
        self.mapping, self._source, self._files = mapping, source, files
        self._cuts: tuple[tuple[str, int], ...] = ()
        self.duplicates = Duplicates()
        if mapping.splits != "official":
            total = sum(1 for _ in self._rows(()))
            self._cuts = _cuts(HEAD_SPLITS[mapping.splits], total)
        if mapping.sample_id is not None:
            for placed in self._placed(self._key_columns()):
                if isinstance(placed, SourceRow):
                    self.duplicates.gather(f"{placed.split}/{placed.sample_id}")
        self.duplicates.close()

    def outcomes(self, map_slices: MapSlices) -> Iterator[Post | Dropped]:
        """Yield what becomes of every row, in order."""
        self.duplicates.restart()
        converter = Converter(self.mapping, self._source.uri)
        for outcomes in map_slices(converter, slices(map(self._first, self._placed(self.mapping.columns())))):
            yield from outcomes

    def _first(self, placed: Placed) -> Placed:
        """Drop a row whose id a row before has; what becomes of that one does not matter."""
        if self.mapping.sample_id is None or isinstance(placed, Dropped):
            return placed
        if not self.duplicates.met_before(f"{placed.split}/{placed.sample_id}"):
            return placed
        return Dropped(placed.row.where, Reason.duplicate_id, placed.sample_id)

    def _key_columns(self) -> tuple[str, ...]:
        split = self.mapping.split_column
        return tuple(name for name in (self.mapping.sample_id, split and split.column) if name)

    def _rows(self, columns: Sequence[str]) -> Iterator[tuple[str, int, Row]]:
        """Yield split of the file, number in all files of that split, and row."""
        for split, files in self._files.items():
            number = 0
            for file in files:
                for row in read_rows(self._source, file, columns, self.mapping.delimiter):
                    yield split, number, row
                    number += 1

    def _placed(self, columns: Sequence[str]) -> Iterator[Placed]:
        for position, (split, number, row) in enumerate(self._rows(columns)):
            yield self._place(position, split, number, row)

    def _place(self, position: int, split: str, number: int, row: Row) -> Placed:
        if row.problem is not None:
            return Dropped(row.where, Reason.malformed_row, row.problem)
        if self._cuts:
            split = next(name for name, end in self._cuts if position < end)
        elif self.mapping.split_column is not None:
            named = written(value_of(row, self.mapping.split_column.column))
            split = self.mapping.split_column.names.get(named, named)
            if not _SPLIT_NAME.fullmatch(split):
                return Dropped(row.where, Reason.missing_split, repr(split[:60]))
        if self.mapping.sample_id is None:
            return SourceRow(row, split, str(position if self._cuts else number))
        sample_id = written(value_of(row, self.mapping.sample_id))
        if not sample_id:
            return Dropped(row.where, Reason.missing_id, f"column {self.mapping.sample_id!r} is empty")
        if not is_utf8(sample_id):
            return Dropped(row.where, Reason.not_utf8, f"column {self.mapping.sample_id!r}")
        return SourceRow(row, split, sample_id)


def _cuts(parts: Sequence[tuple[str, int]], total: int) -> tuple[tuple[str, int], ...]:
    """Return where each part ends, in rows: each has its share rounded down, the last one the rest, as in MM-Soc."""
    ends = itertools.accumulate(total * percent // 100 for _, percent in parts[:-1])
    return tuple((name, end) for (name, _), end in zip(parts, [*ends, total], strict=True))


def _check(conversion: _Conversion, map_slices: MapSlices) -> None:
    found = (outcome for outcome in conversion.outcomes(map_slices) if isinstance(outcome, Dropped))
    first = list(itertools.islice(found, STRICT_OFFENDERS))
    if first:
        more = "" if len(first) < STRICT_OFFENDERS else f"\n(and perhaps more: the first {STRICT_OFFENDERS} are shown)"
        raise ConfigurationError(
            "--strict: rows would be dropped, and nothing was written. Mend them, or leave out --strict.\n"
            + "\n".join(map(str, first))
            + more
        )


def _write(conversion: _Conversion, data: Storage, map_slices: MapSlices) -> Prepared:
    mapping = conversion.mapping
    report = Report(mapping.dataset)
    writers: dict[str, SplitWriter] = {}
    with contextlib.ExitStack() as stack:
        for outcome in conversion.outcomes(map_slices):
            if isinstance(outcome, Dropped):
                report.drop(outcome)
                continue
            report.keep(outcome.split)
            if outcome.split not in writers:
                posts_per_unit = mapping.posts_per_unit or POSTS_PER_UNIT
                writer = SplitWriter(data, mapping.dataset, outcome.split, posts_per_unit=posts_per_unit)
                writers[outcome.split] = stack.enter_context(writer)
            writers[outcome.split].add(outcome)
        if not writers:
            raise ConfigurationError("\n".join(["Nothing was kept, so nothing was written.", *report.lines()]))
        manifests = tuple(writers[split].finish(mapping.licence, mapping.source) for split in sorted(writers))
    data.write(f"{mapping.dataset}/report.json", report.to_json())
    manifest_paths = fnmatch.filter(data.list_files(mapping.dataset), f"{mapping.dataset}/*/manifest.json")
    others = sorted({path.split("/")[-2] for path in manifest_paths} - set(writers))
    return Prepared(report, manifests, tuple(others))
