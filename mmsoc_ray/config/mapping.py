"""A mapping: which columns of a source become which fields of a post, in a short YAML file."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from mmsoc_ray.config.located_yaml import Location, load_located
from mmsoc_ray.config.task_file import TaskFile, load_task_file
from mmsoc_ray.errors import ConfigurationError, unknown_name
from mmsoc_ray.tasks import TASKS, Task

PUBLISHED = Path(__file__).parent.parent / "data" / "published"
"""Folder of the mappings that come with the program."""

FILE_COLUMN = "$file"
"""Names, in place of a column, the path of the file that a row stands in."""

UNDIVIDED = "all"
"""Stands for the split where ``files`` names none."""

SplitRule = Literal["official", "head_80_10_10", "head_90_10", "head_80_20"]

HEAD_SPLITS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "head_80_10_10": (("train", 80), ("validation", 10), ("test", 10)),
    "head_90_10": (("train", 90), ("validation", 10)),
    "head_80_20": (("train", 80), ("test", 20)),
}
"""Splits by position: the first so many percent of the rows in file order, rounded down, then the next, then the rest.

MM-Soc's code at HEAD (ac09d6c) cuts Memotion and YouTube 80/10/10 in file order; its commit 5ab879a cuts Memotion
90/10 and calls the last part "dev", hence ``validation``, and YouTube 80/20 into "train" and "test". We take
``head_80_10_10`` for MM-Soc's own: its int(0.8 n) rows to train on, the next int(0.1 n) and the rest are the 5,593 /
699 / 700 of the published Memotion.
"""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
"""Datasets and splits become folders: letters, digits, dot, hyphen and underscore."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


def _written(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("YAML takes a bare yes, no, true or false for a truth value; put the words in quotes")
    return str(value) if isinstance(value, int | float) else value


Columns = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One column or several, whose texts are joined by line breaks."""

Written = Annotated[str, BeforeValidator(_written)]
"""A value as the source writes it; a number may stand without quotes."""


class PictureColumn(_Strict):
    """Where a post's picture is.

    A value of bytes, or a struct ``{bytes, path}`` as Hugging Face writes it, is the picture's file itself; a text is
    the name of a file.

    Attributes:
        column: The column.
        folder: Folder of the pictures below the source, for file names; ``{split}`` in it is the post's split.
        suffix: Added to the file name, for example ``.jpg`` where the column holds an id.
        url: The column holds ``http(s)://`` addresses, which are fetched (public addresses only).
        optional: Keep a post whose column is empty, without a picture.
    """

    column: str
    folder: str = ""
    suffix: str = ""
    url: bool = False
    optional: bool = False


class SplitColumn(_Strict):
    """The column that names a row's split.

    Attributes:
        column: The column.
        names: The source's name of a split to ours; other names stay as they are.
    """

    column: str
    names: dict[Written, Name] = Field(default_factory=dict)


class TargetColumn(_Strict):
    """Where a task's references are.

    Attributes:
        column: The column; ``$file`` is the path of the row's file.
        labels: The source's label to the task's; by default the column holds the task's own labels.
        separator: What separates several references in one text.
        as_list: The column's text is a list as Python or JSON writes it, such as ``['Music', 'Jazz']``.
        task_file: For a task of one's own: its YAML file. A relative path is taken from the mapping's folder.
    """

    column: str
    labels: dict[Written, Written] | None = Field(default=None, min_length=1)
    separator: str | None = Field(default=None, min_length=1)
    as_list: bool = False
    task_file: str | None = None


class SourceMapping(_Strict):
    """A whole mapping, as its YAML file says it.

    Attributes:
        dataset: Name of the dataset that is written.
        files: Split to its files; or just files, where ``split_column`` or ``splits`` divides them. A file is a path
            below the source, or a pattern with ``*`` and ``?``; CSV, TSV, JSONL, Parquet or tar by its suffix.
        splits: ``official`` takes the source's own division, the others cut by position (``HEAD_SPLITS``).
        split_column: Column that names the split, under ``official``.
        sample_id: Column of the id; without one, the row's number in its split's files, from 0.
        image: Where the picture is; without it the posts have none.
        text: Columns of what the poster wrote.
        transcription: Columns of the words in the picture.
        targets: Task to where its references are.
        delimiter: What separates the fields of a CSV file, by default a comma (a tab in ``.tsv``).
        posts_per_unit: Bound on the posts of a unit of work, which a kill repeats and batches never cross; None takes
            the writer's own.
        licence: Licence note for the manifest.
        source: Where the data come from, for the manifest.
        assumed: Why the layout is not certain; empty where it is known.
    """

    dataset: Name
    files: dict[Name, Columns] = Field(min_length=1)
    splits: SplitRule = "official"
    split_column: Annotated[SplitColumn | None, BeforeValidator(_as_column)] = None
    sample_id: str | None = None
    image: Annotated[PictureColumn | None, BeforeValidator(_as_column)] = None
    text: Columns | None = None
    transcription: Columns | None = None
    targets: dict[str, Annotated[TargetColumn, BeforeValidator(_as_column)]] = Field(min_length=1)
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    posts_per_unit: int | None = Field(default=None, ge=1)
    licence: str = ""
    source: str = ""
    assumed: str = ""
    _own_tasks: dict[str, TaskFile] = PrivateAttr(default_factory=dict)

    @field_validator("files", mode="before")
    @classmethod
    def _files_of_no_split(cls, value: Any) -> Any:
        return {UNDIVIDED: value} if isinstance(value, str | list) else value

    @model_validator(mode="after")
    def _divided(self) -> SourceMapping:
        by_files = set(self.files) != {UNDIVIDED}
        if self.splits == "official" and not by_files and self.split_column is None:
            raise ValueError(
                "says no splits. Write files: {test: FILE}, or name a split_column, or a rule such as "
                "splits: head_80_10_10"
            )
        if by_files and self.split_column is not None:
            raise ValueError("files name the splits, and so does split_column. Keep one of them")
        if self.image is None and self.text is None and self.transcription is None:
            raise ValueError("a post needs an image, a text or a transcription")
        return self

    @property
    def own_tasks(self) -> Mapping[str, TaskFile]:
        """Tasks of one's own that it has targets for, by name."""
        return self._own_tasks

    def task(self, name: str) -> Task:
        """Return one of the tasks that it has targets for."""
        return self._own_tasks[name].task() if name in self._own_tasks else TASKS[name]

    def columns(self) -> tuple[str, ...]:
        """Return every column that is read, each once, without ``$file``."""
        split = self.split_column if self.splits == "official" else None
        parts = [part for part in (self.image, split, *self.targets.values()) if part is not None]
        wanted = [self.sample_id, *(self.text or ()), *(self.transcription or ()), *(part.column for part in parts)]
        return tuple(dict.fromkeys(name for name in wanted if name and name != FILE_COLUMN))


def published_mappings() -> list[str]:
    """Return the names of the mappings that come with the program."""
    return sorted(file.stem for file in PUBLISHED.glob("*.yaml"))


def load_mapping(mapping: str | Path) -> SourceMapping:
    """Read and validate a mapping: a YAML file, or the name of a published one.

    Raises:
        ConfigurationError: Naming file, line, field, value and what is allowed.
    """
    path = Path(mapping)
    if path.suffix not in (".yaml", ".yml"):
        if str(mapping) not in published_mappings():
            raise unknown_name("mapping", str(mapping), published_mappings(), where="A YAML file is named *.yaml")
        path = PUBLISHED / f"{mapping}.yaml"
    shape = "a mapping has at least dataset, files, targets, and an image or a text."
    return load_located(path, SourceMapping, shape, functools.partial(mapping_problems, folder=path.parent))


def with_splits(mapping: SourceMapping, rule: str) -> SourceMapping:
    """Return a mapping with another division into splits.

    Raises:
        ConfigurationError: For a rule that is not known, or ``official`` where the mapping names no splits.
    """
    allowed = ("official", *HEAD_SPLITS)
    if rule not in allowed:
        raise unknown_name("rule", rule, allowed, where="--splits")
    try:
        SourceMapping.model_validate({**mapping.model_dump(), "splits": rule})
    except ValidationError as error:
        raise ConfigurationError(f"--splits {rule}: the mapping {error.errors()[0]['msg']}.") from error
    return mapping.model_copy(update={"splits": rule})


def mapping_problems(mapping: SourceMapping, folder: Path) -> Iterator[tuple[Location, str]]:
    """Yield what no schema can see, targets that do not fit their tasks, and take tasks of one's own into the mapping.

    Args:
        mapping: The mapping, fresh from its YAML.
        folder: Where its YAML file stands.
    """
    for name, target in mapping.targets.items():
        location = ("targets", name)
        if target.task_file is not None:
            try:
                mapping._own_tasks[name] = load_task_file(folder / target.task_file, name)
            except ConfigurationError as error:
                yield (*location, "task_file"), str(error)
                continue
        elif name not in TASKS:
            own = f"A task of your own names its file in targets.{name}.task_file."
            yield location, f"{unknown_name('task', name, TASKS)} {own}"
            continue
        for field, message in _target_problems(mapping.task(name), target):
            yield (*location, *field), message


def _target_problems(task: Task, target: TargetColumn) -> Iterator[tuple[Location, str]]:
    if not task.labels and target.labels is not None:
        yield ("labels",), f"{task.name} has no labels of its own; leave this field out."
        return
    for field in ("separator", "as_list"):
        if task.kind == "classification" and getattr(target, field):
            yield (field,), f"{task.name} takes one label; leave this field out."
    if target.separator is not None and target.as_list:
        yield ("as_list",), "a list needs no separator. Keep one of the two."
    for written, label in (target.labels or {}).items():
        if label not in task.labels:
            yield ("labels", written), str(unknown_name(f"label of {task.name}", label, task.labels))
