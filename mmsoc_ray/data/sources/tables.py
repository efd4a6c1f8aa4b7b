"""Reading tables row by row: CSV, TSV, JSONL, Parquet, .xlsx and WebDataset tars, from a folder or S3.

Every reader is a stream: a file is never held whole (but for the texts of a workbook, which are bounded), and one row
that cannot be read does not stop it.
"""

from __future__ import annotations

import csv
import io
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.data.sources.rows import Row, parse_json
from mmsoc_ray.data.sources.sheets import SheetError, sheet_columns, sheet_rows
from mmsoc_ray.data.sources.tars import tar_rows
from mmsoc_ray.data.storage import Storage
from mmsoc_ray.errors import ConfigurationError

SUFFIXES = (".csv", ".tsv", ".xlsx", ".jsonl", ".parquet", ".tar")
FIELD_CHARACTERS = 16 * 2**20
"""Bound on a field of a CSV file and on a line of JSONL (FakeNewsNet's tweet ids exceed Python's own bound)."""

BATCH_ROWS = 32
BUFFER = 2**20


def suffix(file: str) -> str:
    """Return what a file's name ends in, in lower case, by which its reader is chosen."""
    return posixpath.splitext(file)[1].lower()


def column_names(source: Storage, file: str, delimiter: str | None = None) -> list[str]:
    """Return the columns of a file: its header, its schema, or the keys of its first line.

    Raises:
        ConfigurationError: Where the file cannot be read as what its suffix says.
    """
    try:
        with source.open_input(file) as handle:
            form = suffix(file)
            if form == ".parquet":
                return list(pq.ParquetFile(handle).schema_arrow.names)
            if form == ".xlsx":
                return sheet_columns(io.BufferedReader(handle, BUFFER))
            if form in (".jsonl", ".tar"):
                rows = _json_lines(file, handle) if form == ".jsonl" else _tar_rows(file, handle)
                first = next(rows, Row(file, 1))
                if first.problem:
                    raise ConfigurationError(f"{source.uri}/{first.where}: {first.problem}.")
                return list(first.values)
            return next(_csv_records(handle, _delimiter(file, delimiter)), [])
    except (OSError, pa.ArrowInvalid, csv.Error, tarfile.TarError, SheetError) as error:
        raise ConfigurationError(f"{source.uri}/{file}: cannot be read ({error}).") from error


def read_rows(source: Storage, file: str, columns: Sequence[str], delimiter: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file in order, with the values of some columns.

    Raises:
        ConfigurationError: For a suffix that no reader knows, and for a file that is broken in its middle.
        OSError: Where the store does not answer.
    """
    form = suffix(file)
    if form not in SUFFIXES:
        raise ConfigurationError(f"{source.uri}/{file}: unknown kind of file. Allowed: {', '.join(SUFFIXES)}.")
    try:
        with source.open_input(file) as handle:
            if form == ".parquet":
                yield from _parquet_rows(file, handle, columns)
                return
            if form == ".tar":
                rows = _tar_rows(file, handle)
            elif form == ".jsonl":
                rows = _json_lines(file, handle)
            elif form == ".xlsx":
                rows = sheet_rows(file, io.BufferedReader(handle, BUFFER))
            else:
                rows = _csv_rows(file, handle, _delimiter(file, delimiter))
            for row in rows:
                yield replace(row, values={name: row.values[name] for name in columns if name in row.values})
    except (pa.ArrowInvalid, tarfile.TarError, SheetError) as error:
        raise ConfigurationError(f"{source.uri}/{file}: is broken ({error}). Fetch it again.") from error


def _delimiter(file: str, delimiter: str | None) -> str:
    return delimiter or ("\t" if suffix(file) == ".tsv" else ",")


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


def _tar_rows(file: str, handle: pa.NativeFile) -> Iterator[Row]:
    return tar_rows(file, io.BufferedReader(handle, BUFFER))


def _json_lines(file: str, handle: pa.NativeFile) -> Iterator[Row]:
    number = 0
    for line in _lines(io.BufferedReader(handle, BUFFER)):
        if not line.strip():
            continue
        number += 1
        try:
            yield Row(file, number, parse_json(line))
        except ValueError as error:
            yield Row(file, number, problem=str(error))


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
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        return [_python_value(scalar) for scalar in column]
    return values


def _python_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:  # within a list or a struct: the value as a whole is not UTF-8
        return bytes(error.object).decode("utf-8", "surrogateescape")
