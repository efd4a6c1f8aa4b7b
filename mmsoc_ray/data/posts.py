"""A post: one picture and its text, with what the tasks expect of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

POST_SCHEMA = pa.schema(
    [
        pa.field("post_key", pa.string(), nullable=False),
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("image", pa.binary()),
        pa.field("text", pa.string()),
        pa.field("transcription", pa.string()),
        pa.field("targets", pa.map_(pa.string(), pa.list_(pa.string())), nullable=False),
    ]
)
"""Columns of a shard. A row is a post, a row group is a unit of work."""


@dataclass(frozen=True)
class Post:
    """One social-media post.

    Attributes:
        sample_id: The source's own id, unique within dataset and split.
        dataset: Name of the dataset, for example ``memotion``.
        split: Name of the split, for example ``test``.
        image: The picture's file as it came (PNG, JPEG, ...), or None.
        text: What the poster wrote (tweet, news text, title and description), or None.
        transcription: The words inside the picture where the source gives them, or None.
        targets: Task name to references: one label for a classification, all tags for tagging, one or more texts.
    """

    sample_id: str
    dataset: str
    split: str
    image: bytes | None = field(default=None, repr=False)
    text: str | None = None
    transcription: str | None = None
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def post_key(self) -> str:
        """``<dataset>/<split>/<sample_id>``, unique over everything."""
        return f"{self.dataset}/{self.split}/{self.sample_id}"

    def to_row(self) -> dict[str, Any]:
        """Return the post as a row of ``POST_SCHEMA``."""
        return {
            "post_key": self.post_key,
            "sample_id": self.sample_id,
            "dataset": self.dataset,
            "split": self.split,
            "image": self.image,
            "text": self.text,
            "transcription": self.transcription,
            "targets": [(task, list(references)) for task, references in sorted(self.targets.items())],
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Post:
        """Read a post back from a row of ``POST_SCHEMA``."""
        return cls(
            sample_id=row["sample_id"],
            dataset=row["dataset"],
            split=row["split"],
            image=row["image"],
            text=row["text"],
            transcription=row["transcription"],
            targets={task: tuple(references) for task, references in row["targets"]},
        )


def fold_text(text: str | None) -> str:
    """Return a text as it is compared with others: neither case nor white space tells two apart; '' for none."""
    return " ".join((text or "").casefold().split())
