"""Where a table does not have the columns of its mapping: what is there, and the mapping that mends it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

import yaml

from mmsoc_ray.config.mapping import UNDIVIDED, SourceMapping
from mmsoc_ray.data.sources.rows import is_utf8
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.results import printable

DELIMITERS = (";", "\t", ",", "|")
"""What people's tables are separated by."""


def check_columns(mapping: SourceMapping, file: str, found: list[str]) -> None:
    """Check that a file has every column that the mapping names.

    Raises:
        ConfigurationError: With the columns found and wanted, and the mapping with the nearest columns in place; or
            where a wanted column stands twice, the header is not UTF-8, or is separated by something else.
    """
    if not all(map(is_utf8, found)):
        raise ConfigurationError(f"{file}: its first line is not UTF-8. Save the file as UTF-8.")
    twice = [column for column in mapping.columns() if found.count(column) > 1]
    if twice:
        raise ConfigurationError(f"{file}: two columns are named {twice[0]!r}. Rename one of them.")
    missing = [column for column in mapping.columns() if column not in found]
    if not missing:
        return
    delimiter = _delimiter(missing, found)
    if delimiter is not None:
        raise ConfigurationError(
            f"{file}: its columns are separated by {delimiter!r}. "
            f"Add to the mapping: delimiter: {json.dumps(delimiter)}"
        )
    free = [column for column in found if column not in mapping.columns()]
    renamed = {column: (difflib.get_close_matches(column, free, n=1) or ["WHICH?"])[0] for column in missing}
    assumed = f"The mapping's layout is assumed: {mapping.assumed}\n" if mapping.assumed else ""
    raise ConfigurationError(
        f"{file}: no column {', '.join(map(repr, missing))}.\n"
        f"Columns found:  {printable(', '.join(found)) or '(none)'}\n"
        f"Columns wanted: {', '.join(mapping.columns())}\n{assumed}"
        f"Save this with the right columns as a YAML file, or put it into the grid, in place of the mapping:\n\n"
        f"{mapping_yaml(_with_columns(mapping, renamed))}"
    )


def _delimiter(missing: list[str], found: list[str]) -> str | None:
    """Return what separates the columns where a header was read as one column."""
    header = found[0] if len(found) == 1 else ""
    return next((mark for mark in DELIMITERS if set(missing) <= set(header.split(mark))), None)


def mapping_yaml(mapping: SourceMapping) -> str:
    """Return a mapping as the YAML that gives it."""
    content = mapping.model_dump(mode="json", exclude_defaults=True)
    for name in ("text", "transcription"):
        if len(content.get(name, ())) == 1:
            (content[name],) = content[name]
    content["files"] = {split: names[0] if len(names) == 1 else names for split, names in content["files"].items()}
    if list(content["files"]) == [UNDIVIDED]:
        content["files"] = content["files"][UNDIVIDED]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _with_columns(mapping: SourceMapping, renamed: Mapping[str, str]) -> SourceMapping:
    def replaced(value: Any) -> Any:
        return renamed.get(value, value)

    def within(part: Any) -> Any:
        return part and part.model_copy(update={"column": replaced(part.column)})

    return mapping.model_copy(
        update={
            "sample_id": replaced(mapping.sample_id),
            "image": within(mapping.image),
            "split_column": within(mapping.split_column),
            "text": mapping.text and tuple(map(replaced, mapping.text)),
            "transcription": mapping.transcription and tuple(map(replaced, mapping.transcription)),
            "targets": {task: within(target) for task, target in mapping.targets.items()},
        }
    )
