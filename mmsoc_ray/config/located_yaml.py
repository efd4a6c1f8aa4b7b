"""YAML that remembers where each field stands, so that an error can name file and line."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mmsoc_ray.errors import ConfigurationError

M = TypeVar("M", bound=BaseModel)
Location = tuple[Any, ...]


@dataclass(frozen=True)
class LocatedYaml:
    """The content of a YAML file and the line of each of its fields."""

    file: str
    content: Any
    lines: dict[Location, int]

    def where(self, location: Location) -> str:
        """Return ``file:line: field`` for a field, by its nearest known parent."""
        known = location
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known)
        field = ".".join(str(part) for part in location)
        return f"{self.file}:{line}: {field}" if line else f"{self.file}: {field}"


def read_located_yaml(path: Path) -> LocatedYaml:
    """Read a YAML file (safe subset: no tags that build objects).

    Raises:
        ConfigurationError: Where the file is missing, is no YAML, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}). Name an existing YAML file.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text ({error}). Name a YAML file.") from error
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Location, int] = {}
        if node is not None:
            _collect_lines(node, (), lines, str(path))
        content = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: is no valid YAML: {error}") from error
    finally:
        loader.dispose()
    return LocatedYaml(str(path), content, lines)


def _collect_lines(node: yaml.Node, location: Location, lines: dict[Location, int], file: str) -> None:
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name: Hashable = key.value
            if (*location, name) in lines:
                raise ConfigurationError(f"{file}:{key.start_mark.line + 1}: {name!r} stands twice. Keep one of them.")
            lines[(*location, name)] = key.start_mark.line + 1
            _collect_lines(value, (*location, name), lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*location, index), lines, file)


def validate(model: type[M], source: LocatedYaml) -> M:
    """Build a configuration model from a file.

    Raises:
        ConfigurationError: Naming file, line, field, value and what is allowed, for every field that is wrong.
    """
    try:
        return model.model_validate(source.content)
    except ValidationError as error:
        problems = [_describe(source, problem) for problem in error.errors()]
        raise ConfigurationError("\n".join(problems)) from error


def _describe(source: LocatedYaml, problem: Any) -> str:
    location = tuple(problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "this field is not known. Remove it, or see docs/GRID.md for the fields that are"
        return f"{source.where(location)}: {message}."
    value = problem["input"]
    shown = "" if isinstance(value, dict | list) else f" (got {value!r})"
    return f"{source.where(location)}: {message}{shown}."
