"""Tweets with gold labels of sarcasm, as MIKO's second repository publishes them, without their pictures.

Source: Twitter Sarcasm (Cai et al. 2019) in the files of ``zzq2000/MIKO`` (Apache-2.0): ``sarcasm_<split>.json``
holds the label, ``sarcasm_keyinfo_<split>.jsonl`` the tweet as it was posted (the former wraps it in a prompt).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmsoc_ray.data.posts import Post
from mmsoc_ray.data.shards import SplitManifest, write_split
from mmsoc_ray.data.storage import Storage
from mmsoc_ray.errors import ConfigurationError

DATASET = "twitter_sarcasm"
FILE_NAMES = {"validation": "valid", "test": "test"}
"""Split to its part of the file names; the train split is not published there."""

LABELS = {1: "sarcastic", 0: "not_sarcastic"}
LICENCE = "Apache-2.0 (zzq2000/MIKO); posts of Twitter Sarcasm, Cai et al. 2019"


def twitter_sarcasm_posts(folder: Path, split: str) -> Iterator[Post]:
    """Yield the tweets of a split in the order of the file.

    The sample id is the source's question id, since some tweets repeat another's text and each keeps its own row.

    Args:
        folder: Where the published files lie.
        split: ``validation`` or ``test``.

    Raises:
        ConfigurationError: Where a file is missing or its rows do not belong together; the message names file and row.
    """
    part = FILE_NAMES.get(split)
    if part is None:
        raise ConfigurationError(f"{DATASET}: unknown split {split!r}. Allowed: {', '.join(FILE_NAMES)}.")
    labels_file, texts_file = folder / f"sarcasm_{part}.json", folder / f"sarcasm_keyinfo_{part}.jsonl"
    labels = {str(row["question id"]): row for row in _read(labels_file, json.loads)}
    tweets = _read(texts_file, lambda text: [json.loads(line) for line in text.splitlines() if line.strip()])
    if len(tweets) != len(labels):
        raise ConfigurationError(f"{texts_file}: {len(tweets)} rows, but {labels_file} has {len(labels)}.")
    for row in tweets:
        labelled = labels.get(str(row["question_id"]))
        if labelled is None or labelled["image"] != row["image_id"] or labelled["label"] not in LABELS:
            raise ConfigurationError(f"{texts_file}: row {row['question_id']} has no matching label in {labels_file}.")
        yield Post(
            sample_id=str(row["question_id"]),
            dataset=DATASET,
            split=split,
            text=row["text"],
            targets={"sarcasm": (LABELS[labelled["label"]],)},
        )


def write_twitter_sarcasm(folder: Path, data: Storage) -> list[SplitManifest]:
    """Write both published splits as shards."""
    return [
        write_split(
            data,
            DATASET,
            split,
            twitter_sarcasm_posts(folder, split),
            licence=LICENCE,
            source="zzq2000/MIKO, sarcasm_*.json and sarcasm_keyinfo_*.jsonl",
            posts_per_unit=64,
        )
        for split in FILE_NAMES
    ]


def _read(file: Path, parse: Any) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror}). Name the folder of the files.") from error
    except ValueError as error:
        raise ConfigurationError(f"{file}: is no JSON as published ({error}).") from error
    return rows
