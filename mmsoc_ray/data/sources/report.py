"""What a conversion read, kept and dropped, and why."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

OFFENDERS_SHOWN = 5
"""Of every reason, the first so many rows are named."""


class Reason(StrEnum):
    """Why a row becomes no post."""

    malformed_row = "malformed_row"
    not_utf8 = "not_utf8"
    missing_id = "missing_id"
    duplicate_id = "duplicate_id"
    missing_split = "missing_split"
    empty_post = "empty_post"
    missing_picture = "missing_picture"
    corrupt_picture = "corrupt_picture"
    decompression_bomb = "decompression_bomb"
    missing_target = "missing_target"
    unknown_label = "unknown_label"


MEANINGS = {
    Reason.malformed_row: "the row cannot be read",
    Reason.not_utf8: "a text is not UTF-8",
    Reason.missing_id: "the id is empty",
    Reason.duplicate_id: "the id stands before in the same split; the first is kept",
    Reason.missing_split: "no split, or a name that cannot be a folder",
    Reason.empty_post: "neither a picture nor a text",
    Reason.missing_picture: "there is no such picture, or it cannot be fetched",
    Reason.corrupt_picture: "the picture cannot be decoded",
    Reason.decompression_bomb: "the picture has too many bytes or pixels",
    Reason.missing_target: "a task's column is empty",
    Reason.unknown_label: "a label outside the mapping's or the task's",
}


@dataclass(frozen=True)
class Dropped:
    """A row that became no post: where it stands, why, and the value in question."""

    where: str
    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass
class Report:
    """Counts of a conversion.

    Attributes:
        dataset: Name of the dataset.
        read: Rows read.
        kept: Split to the posts kept.
        dropped: Reason to the rows dropped.
        offenders: Of every reason, the first rows.
    """

    dataset: str
    read: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[Reason] = field(default_factory=Counter)
    offenders: dict[Reason, list[Dropped]] = field(default_factory=dict)

    def keep(self, split: str) -> None:
        """Count a post."""
        self.read += 1
        self.kept[split] += 1

    def drop(self, dropped: Dropped) -> None:
        """Count a dropped row and remember it if it is one of the first."""
        self.read += 1
        self.dropped[dropped.reason] += 1
        first = self.offenders.setdefault(dropped.reason, [])
        if len(first) < OFFENDERS_SHOWN:
            first.append(dropped)

    def lines(self) -> list[str]:
        """Return the report for people: counts, reasons, and the first rows of each."""
        kept = ", ".join(f"{split} {count:,}" for split, count in sorted(self.kept.items()))
        lines = [
            f"{self.dataset}: {self.read:,} rows read, {self.kept.total():,} posts kept ({kept or 'none'}), "
            f"{self.dropped.total():,} dropped"
        ]
        for reason in sorted(self.dropped):
            lines.append(f"  {reason} {self.dropped[reason]:,}: {MEANINGS[reason]}")
            lines += [f"    {row.where}: {row.detail}" for row in self.offenders[reason]]
        return lines

    def to_json(self) -> bytes:
        """Return the report as JSON, the same bytes for the same source."""
        dropped = {
            reason: {"rows": rows, "first": [{"where": r.where, "detail": r.detail} for r in self.offenders[reason]]}
            for reason, rows in self.dropped.items()
        }
        content = {"dataset": self.dataset, "read": self.read, "kept": dict(self.kept), "dropped": dropped}
        return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"
