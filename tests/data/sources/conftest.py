"""Sources on disk, written by the tests: pictures, tables, mappings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmsoc_ray.data import Post, open_storage, plan_units, read_manifest, read_unit
from mmsoc_ray.data.sources import Prepared, load_mapping, prepare_source


def small_picture(number: int = 0) -> bytes:
    """Return a PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (number % 256, 40, 90)).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class Source:
    """A folder that becomes a source.

    Attributes:
        folder: Where its files go.
        output: Where its shards go.
    """

    folder: Path
    output: Path

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file below the source."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write rows as CSV, TSV, .xlsx, JSONL or Parquet, by the suffix."""
        if name.endswith(".parquet"):
            path = self.write(name, b"")
            pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=3)
            return path
        if name.endswith(".jsonl"):
            return self.write(name, "".join(json.dumps(row) + "\n" for row in rows))
        if name.endswith(".xlsx"):
            book, path = openpyxl.Workbook(), self.write(name, b"")
            for values in (list(rows[0]), *(list(row.values()) for row in rows)):
                book.active.append(values)
            book.save(path)
            return path
        file = io.StringIO()
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if name.endswith(".tsv") else ",")
        writer.writeheader()
        writer.writerows(rows)
        return self.write(name, file.getvalue())

    def prepare(self, mapping: str | Path, **options: Any) -> Prepared:
        """Convert by the name of a published mapping, or by YAML."""
        if isinstance(mapping, str) and "\n" in mapping:
            mapping = self.write("mapping.yaml", mapping)
        return prepare_source(load_mapping(mapping), open_storage(self.folder), open_storage(self.output), **options)

    def posts(self, dataset: str, split: str = "test") -> list[Post]:
        """Read back what was prepared."""
        data = open_storage(self.output)
        units = plan_units(read_manifest(data, dataset, split))
        return [post for unit in units for post in read_unit(data, unit)]

    def output_bytes(self) -> dict[str, bytes]:
        """Return every file of the output."""
        files = (file for file in self.output.rglob("*") if file.is_file())
        return {file.relative_to(self.output).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Return an empty source."""
    (tmp_path / "source").mkdir()
    return Source(tmp_path / "source", tmp_path / "out")


@pytest.fixture(scope="session")
def small() -> Callable[[int], bytes]:
    """Make a PNG of one colour."""
    return small_picture
