import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data.ranges import READ_AHEAD, open_ranges
from mmsoc_ray.errors import StorageError

CONTENT = bytes(range(256)) * 40_000


class Object:
    """Bytes that count what is fetched of them."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fetched = []

    def fetch(self, start: int, end: int) -> bytes:
        self.fetched.append((start, end))
        return self.content[start:end]

    def open(self) -> pa.NativeFile:
        return open_ranges(len(self.content), self.fetch)


def test_any_range_is_read_as_it_stands():
    stored = Object(CONTENT)
    with stored.open() as handle:
        assert handle.size() == len(CONTENT)
        for start, count in ((0, 10), (5_000_000, 3), (len(CONTENT) - 5, 100), (len(CONTENT), 1), (77, 4_000_000)):
            handle.seek(start)
            assert handle.read(count) == CONTENT[start : start + count]
    assert all(0 <= start < end <= len(CONTENT) for start, end in stored.fetched)


def test_reads_beside_each_other_are_one_request():
    stored = Object(CONTENT)
    with stored.open() as handle:
        for _ in range(100):
            handle.read(1000)
    assert stored.fetched == [(0, READ_AHEAD)]


def test_of_a_row_group_its_bytes_are_fetched_once_and_no_other_row_group():
    file = io.BytesIO()
    table = pa.table({"key": [str(number) for number in range(8)], "image": [CONTENT] * 8})
    pq.write_table(table, file, row_group_size=2, compression="none", use_dictionary=False)
    stored = Object(file.getvalue())
    with stored.open() as handle:
        read = pq.ParquetFile(handle).read_row_group(1)
    assert read.equals(table.slice(2, 2))
    assert sum(end - start for start, end in stored.fetched) < len(file.getvalue()) / 4 + 2 * READ_AHEAD
    assert len(stored.fetched) < 6


def test_an_error_of_a_fetch_reaches_the_reader_of_a_table_as_it_is():
    file = io.BytesIO()
    pq.write_table(pa.table({"x": [CONTENT]}), file, compression="none")
    stored = Object(file.getvalue())

    def fetch(start: int, end: int) -> bytes:
        if start < READ_AHEAD:
            raise StorageError("the server is away")
        return stored.fetch(start, end)

    with open_ranges(len(file.getvalue()), fetch) as handle:
        opened = pq.ParquetFile(handle)
        with pytest.raises(StorageError, match="the server is away"):
            opened.read()
