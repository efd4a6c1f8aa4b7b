"""Reading .xlsx workbooks row by row, as text the way a person sees it."""

from __future__ import annotations

import contextlib
import datetime
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from mmsoc_ray.data.sources.rows import Row

SHEET_BYTES = 2**30
"""Bound on a sheet, unpacked. A sheet is streamed; the bound is one of time."""

PARTS_BYTES = 64 * 2**20
"""Bound on all else in a workbook together, unpacked: its texts, above all, which a reader must hold in memory."""

MAX_ROWS = 1_048_576
"""Excel's own bound on the rows of a sheet; a file that counts further would be read for ever."""


class SheetError(ValueError):
    """The file cannot be read as a workbook; the message says why."""


def sheet_columns(handle: BinaryIO) -> list[str]:
    """Return the first row of a workbook's first sheet, without the empty cells at its end.

    Raises:
        SheetError: Where the file cannot be read as a workbook.
    """
    return next(_records(handle), [])


def sheet_rows(file: str, handle: BinaryIO) -> Iterator[Row]:
    """Yield the rows beneath the first one; a row of empty cells is none, and what stands beside the table is not read.

    Raises:
        SheetError: Where the file cannot be read as a workbook.
    """
    records = _records(handle)
    header = next(records, [])
    for number, record in enumerate(filter(None, records), start=1):
        yield Row(file, number, dict(zip(header, record, strict=False)))


def _records(handle: BinaryIO) -> Iterator[list[str]]:
    from openpyxl import load_workbook

    with _one_error():
        _check_sizes(handle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # parts that it does not know, such as rules for entering data
            book = load_workbook(handle, read_only=True, data_only=True, keep_links=False)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what a file says of them is often wrong
        for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
            if number > MAX_ROWS:
                raise SheetError(f"the sheet has more than {MAX_ROWS:,} rows; save it as CSV")
            record = [_seen(value) for value in cells]
            while record and not record[-1]:
                record.pop()
            yield record


def _check_sizes(handle: BinaryIO) -> None:
    """Refuse a bomb by its table of contents; more than that says is never unpacked of a member."""
    with zipfile.ZipFile(handle) as archive:
        members = archive.infolist()
    sheets = [member.file_size for member in members if "worksheets/" in member.filename]
    others = sum(member.file_size for member in members) - sum(sheets)
    if max(sheets, default=0) > SHEET_BYTES or others > PARTS_BYTES:
        raise SheetError(
            f"unpacked, a sheet has more than {SHEET_BYTES:,} bytes, or the rest more than {PARTS_BYTES:,}; "
            f"save it as CSV"
        )


def _seen(value: Any) -> str:
    """Return a cell's value as its sheet shows it, but for formats of one's own (money, per cent)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return f"{value:.15g}"  # the digits that a sheet keeps
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)


@contextlib.contextmanager
def _one_error() -> Iterator[None]:
    """Make one error of whatever a broken workbook raises, which is anything."""
    try:
        yield
    except (OSError, SheetError):  # the store's and our own
        raise
    except Exception as error:
        cause = str(error.__cause__ or error).partition("\n")[0]
        raise SheetError(
            f"no .xlsx workbook, or a broken or protected one: {cause}; save it again, or as CSV"
        ) from error
