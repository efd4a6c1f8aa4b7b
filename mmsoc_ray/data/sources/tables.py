"""Reading tables row by row: CSV, TSV, JSONL and Parquet, from a folder or S3.

Every reader is a stream: a file is never held whole, and one row that cannot be read does not stop it. Text that is
not UTF-8 keeps its stray bytes as lone surrogates, by which ``is_utf8`` tells it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.data.storage import Storage
from mmsoc_ray.errors import ConfigurationError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
FIELD_CHARACTERS = 16 * 2**20
"""Bound on a field of a CSV file and on a line of JSONL (FakeNewsNet's tweet ids exceed Python's own bound)."""

BATCH_ROWS = 32
BUFFER = 2**20


@dataclass(frozen=True)
class Row:
    """A row of a source.

    Attributes:
        file: Path of its file below the source.
        number: Its number in the file, from 1 (a header does not count).
        values: Column to value; a column that the row lacks is absent.
        problem: Why the row cannot be read, or None.
    """

    file: str
    number: int
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None

    @property
    def where(self) -> str:
        """File and number, for people."""
        return f"{self.file}, row {self.number}"


def column_names(source: Storage, file: str, delimiter: str | None = None) -> list[str]:
    """Return the columns of a file: its header, its schema, or the keys of its first line.

    Raises:
        ConfigurationError: Where the file cannot be read as what its suffix says.
    """
    try:
        with source.open_input(file) as handle:
            if file.endswith(".parquet"):
                return list(pq.ParquetFile(handle).schema_arrow.names)
            if file.endswith(".jsonl"):
                first = next((row for row in _json_lines(file, handle)), Row(file, 1))
                if first.problem:
                    raise ConfigurationError(f"{source.uri}/{first.where}: {first.problem}.")
                return list(first.values)
            return next(_csv_records(handle, _delimiter(file, delimiter)), [])
    except (OSError, pa.ArrowInvalid, csv.Error) as error:
        raise ConfigurationError(f"{source.uri}/{file}: cannot be read ({error}).") from error


def read_rows(source: Storage, file: str, columns: Sequence[str], delimiter: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file in order, with the values of some columns.

    Raises:
        ConfigurationError: For a suffix that no reader knows.
        OSError: Where the file cannot be read to its end.
    """
    if not file.endswith(SUFFIXES):
        raise ConfigurationError(f"{source.uri}/{file}: unknown kind of file. Allowed: {', '.join(SUFFIXES)}.")
    with source.open_input(file) as handle:
        if file.endswith(".parquet"):
            yield from _parquet_rows(file, handle, columns)
        elif file.endswith(".jsonl"):
            yield from _json_lines(file, handle)
        else:
            yield from _csv_rows(file, handle, _delimiter(file, delimiter))


def is_utf8(text: str) -> bool:
    """Whether a text that a reader gave was UTF-8 in its file."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _delimiter(file: str, delimiter: str | None) -> str:
    return delimiter or ("\t" if file.endswith(".tsv") else ",")


def _csv_records(handle: pa.NativeFile, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(FIELD_CHARACTERS)
    buffered = io.BufferedReader(handle, BUFFER)
    lines = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
    return csv.reader(lines, delimiter=delimiter)


def _csv_rows(file: str, handle: pa.NativeFile, delimiter: str) -> Iterator[Row]:
    records = _csv_records(handle, delimiter)
    header = next(records, [])
    number = 0
    while True:
        try:
            record = next(records, None)
        except csv.Error as error:
            number += 1
            yield Row(file, number, problem=str(error))
            continue
        if record is None:
            return
        if not record:
            continue  # an empty line is no row
        number += 1
        if len(record) != len(header):
            yield Row(file, number, problem=f"{len(record)} fields, but the header has {len(header)}")
        else:
            yield Row(file, number, dict(zip(header, record, strict=True)))


def _json_lines(file: str, handle: pa.NativeFile) -> Iterator[Row]:
    number = 0
    for line in _lines(io.BufferedReader(handle, BUFFER)):
        if not line.strip():
            continue
        number += 1
        try:
            # A byte order mark at the start is dropped; a lone surrogate stands for a byte that is not UTF-8.
            values = json.loads(line.decode("utf-8", "surrogateescape").removeprefix("\ufeff"))
        except (ValueError, RecursionError) as error:
            yield Row(file, number, problem=f"no JSON ({error})")
            continue
        if isinstance(values, dict):
            yield Row(file, number, values)
        else:
            yield Row(file, number, problem="no JSON object")


def _lines(handle: io.BufferedReader) -> Iterator[bytes]:
    """Yield lines of bounded length; the rest of a longer one is a line of its own, which will be no JSON."""
    return iter(lambda: handle.readline(FIELD_CHARACTERS), b"")


def _parquet_rows(file: str, handle: pa.NativeFile, columns: Sequence[str]) -> Iterator[Row]:
    parquet = pq.ParquetFile(handle, buffer_size=BUFFER, pre_buffer=False)
    present = [name for name in columns if name in parquet.schema_arrow.names]
    number = 0
    if not present:
        yield from (Row(file, number + 1) for number in range(parquet.metadata.num_rows))
        return
    for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=present):
        values = {name: _python_values(batch.column(name)) for name in batch.schema.names}
        for index in range(batch.num_rows):
            number += 1
            yield Row(file, number, {name: column[index] for name, column in values.items()})


def _python_values(column: pa.Array) -> Sequence[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        # Parquet does not check its texts; one that is not UTF-8 must not stop the rows beside it.
        raw: Iterable[bytes | None] = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
    values: list[Any] = column.to_pylist()
    return values
