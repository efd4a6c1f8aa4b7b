"""YAML that remembers where each field stands, so that an error can name file and line."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mmsoc_ray.errors import ConfigurationError, unknown_name

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
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            lines: dict[Location, int] = {}
            if node is not None:
                _collect_lines(node, (), lines, str(path))
            content = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: is no valid YAML: {error}") from error
    except ValueError as error:  # a date or number that YAML's own reading rules take for one, such as 2026-13-45
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"{path}: holds a value that cannot be read: {error}. Put it in quotes.") from error
    return LocatedYaml(str(path), content, lines)


def load_located(path: Path, model: type[M], shape: str, problems: Callable[[M], Iterable[tuple[Location, str]]]) -> M:
    """Read a YAML file and build a configuration model from it.

    Args:
        path: The file.
        model: What the file describes.
        shape: Said of a file that holds no mapping: what one looks like.
        problems: Yields what no schema can see: a field and what is wrong with it.

    Raises:
        ConfigurationError: Naming file, line, field, value and what is allowed, for every field that is wrong.
    """
    source = read_located_yaml(path)
    if not isinstance(source.content, dict):
        raise ConfigurationError(f"{path}: {shape}")
    loaded = validate(model, source)
    found = [f"{source.where(location)}: {message}" for location, message in problems(loaded)]
    if found:
        raise ConfigurationError("\n".join(found))
    return loaded


def _collect_lines(
    node: yaml.Node, location: Location, lines: dict[Location, int], file: str, within: tuple[yaml.Node, ...] = ()
) -> None:
    if node in within:
        raise ConfigurationError(f"{file}:{node.start_mark.line + 1}: an alias holds itself. Write the content out.")
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigurationError(f"{file}:{line}: a field's name is a list or a mapping. Give it a plain name.")
            name: Hashable = key.value
            if (*location, name) in lines:
                raise ConfigurationError(f"{file}:{line}: {name!r} stands twice. Keep one of them.")
            lines[(*location, name)] = line
            _collect_lines(value, (*location, name), lines, file, (*within, node))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*location, index), lines, file, (*within, node))


def validate(model: type[M], source: LocatedYaml) -> M:
    """Build a configuration model from a file.

    Raises:
        ConfigurationError: Naming file, line, field, value and what is allowed, for every field that is wrong.
    """
    try:
        return model.model_validate(source.content)
    except ValidationError as error:
        problems = [_describe(model, source, problem) for problem in error.errors()]
        raise ConfigurationError("\n".join(problems)) from error


def _describe(model: type[BaseModel], source: LocatedYaml, problem: Any) -> str:
    location = tuple(part for part in problem["loc"] if part != "[key]")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{source.where(location)}: {unknown_name('field', str(location[-1]), _fields(model, location[:-1]))}"
    value = problem["input"]
    shown = "" if isinstance(value, dict | list) else f" (got {value!r})"
    return f"{source.where(location)}: {message}{shown}."


def _fields(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    """Return the fields that are allowed at a location: those of the model that stands there."""
    annotation: Any = model
    for part in location:
        found = _model_in(annotation)
        # The part names a field of a model, or else an entry of a mapping or list, whose values are of one kind.
        annotation = found.model_fields[part].annotation if found else get_args(annotation)[-1]
    found = _model_in(annotation)
    return tuple(found.model_fields) if found else ()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation is, or that it allows beside None."""
    options = (annotation, *(get_args(annotation) if get_args(annotation)[-1:] == (type(None),) else ()))
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
