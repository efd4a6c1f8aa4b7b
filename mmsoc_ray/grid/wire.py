"""A prepared unit on its way from the CPU tasks to an engine: Arrow tables, as bytes in one row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from mmsoc_ray.engines.protocol import Picture, PreparedPost, Request
from mmsoc_ray.results.schema import PREDICTION_SCHEMA

REQUEST_SCHEMA = pa.schema(
    [
        pa.field("post", pa.int32()),  # position of the post in the unit
        pa.field("setting", pa.string()),
        pa.field("task", pa.string()),
        pa.field("dataset", pa.string()),
        pa.field("split", pa.string()),
        pa.field("post_key", pa.string()),
        pa.field("sample_id", pa.string()),
        pa.field("round", pa.int32()),
        pa.field("row_key", pa.string()),
        pa.field("image_sha256", pa.string()),
        pa.field("prompt", pa.string()),
        pa.field("question", pa.string()),  # to be asked again, where there are several rounds
        pa.field("with_image", pa.bool_()),
        pa.field("example_images", pa.list_(pa.string())),  # digests of the example pictures, in order
        pa.field("places", pa.list_(pa.int32())),  # where in the prompt all pictures stand
        pa.field("max_new_tokens", pa.int32()),
        pa.field("labels", pa.map_(pa.string(), pa.string())),  # where they are scored
        pa.field("positive", pa.string()),  # the label that a row's score is of
        pa.field("reference", pa.list_(pa.string())),
        pa.field("error", pa.string()),  # why it cannot be asked
        pa.field("adapter", pa.string()),  # which adapter answers; empty for the model as it came
    ]
)
KNOWN_SCHEMA = pa.schema(
    [
        PREDICTION_SCHEMA.field(name)
        for name in (
            *("row_key", "output", "label_scores", "error", "finish_reason", "prompt_tokens", "cached_tokens"),
            *("output_tokens", "engine", "engine_version", "reused_from"),
        )
    ]
)
"""What is taken over of an answer. Its score is not: which label is the positive one is the task's to say."""

PICTURE_SCHEMA = pa.schema(
    [
        pa.field("post", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("pixels", pa.large_binary()),
    ]
)


@dataclass(frozen=True)
class PreparedUnit:
    """A unit whose pictures are decoded and whose prompts are rendered.

    Attributes:
        unit_id: The unit.
        posts: Number of posts in the unit.
        requests: A row of ``REQUEST_SCHEMA`` per request; those with an ``error`` never reach the engine.
        pictures: Decoded pictures by the position of their post.
        known: Answers that earlier runs hold, by key, a row of ``KNOWN_SCHEMA`` each, those of further rounds included.
    """

    unit_id: str
    posts: int
    requests: tuple[dict[str, Any], ...]
    pictures: Mapping[int, Picture]
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_row(self) -> dict[str, Any]:
        """Return the unit as one row of Ray Data."""
        pictures = [
            {"post": post, "height": pixels.shape[0], "width": pixels.shape[1], "pixels": pixels.tobytes()}
            for post, pixels in sorted(self.pictures.items())
        ]
        return {
            "unit_id": self.unit_id,
            "posts": self.posts,
            "requests": to_bytes(pa.Table.from_pylist(list(self.requests), schema=REQUEST_SCHEMA)),
            "pictures": to_bytes(pa.Table.from_pylist(pictures, schema=PICTURE_SCHEMA)),
            "known": to_bytes(pa.Table.from_pylist(list(self.known.values()), schema=KNOWN_SCHEMA)),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PreparedUnit:
        """Read a unit back from its row."""
        pictures = {
            item["post"]: np.frombuffer(item["pixels"], np.uint8).reshape(item["height"], item["width"], 3)
            for item in from_bytes(row["pictures"]).to_pylist()
        }
        requests = tuple(from_bytes(row["requests"]).to_pylist())
        known = {answer["row_key"]: answer for answer in from_bytes(row["known"]).to_pylist()}
        return cls(str(row["unit_id"]), int(row["posts"]), requests, pictures, known)

    def known_answer(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the answer to a request that an earlier run holds; none to one that cannot be asked."""
        return self.known.get(request["row_key"]) if request["error"] is None else None

    def unanswered(self) -> list[int]:
        """Return the positions of the requests that carry no error and whose answers are not known."""
        return [
            position
            for position, request in enumerate(self.requests)
            if request["error"] is None and self.known_answer(request) is None
        ]

    def askable(
        self,
        example_pictures: Mapping[str, Picture] | None = None,
        *,
        merged: bool = False,
        answered: Collection[str] | None = None,
    ) -> tuple[list[PreparedPost], list[list[int]]]:
        """Return what an engine is asked: the posts with their unanswered requests.

        Args:
            example_pictures: Decoded example pictures by the digest of their files.
            merged: Whether the adapter is part of the checkpoint, so that no engine is to be told of it.
            answered: Keys that the engine has answered already. Where they are given, requests with one of them are
                left out, and of several with one key, as posts with the same text and picture have, all but the first.

        Returns:
            The posts, and for each of them the positions of its requests in ``requests``.
        """
        wanted = self.unanswered()
        if answered is not None:
            first: dict[str, int] = {}
            for position in wanted:
                first.setdefault(self.requests[position]["row_key"], position)
            wanted = [position for key, position in first.items() if key not in answered]
        positions: dict[int, list[int]] = {}
        for position in wanted:
            positions.setdefault(self.requests[position]["post"], []).append(position)
        posts = [
            PreparedPost(
                post_key=self.requests[asked[0]]["post_key"],
                image=self.pictures.get(post),
                image_sha256=next((s for i in asked if (s := self.requests[i]["image_sha256"])), None),
                requests=tuple(_request(self.requests[i], example_pictures or {}, merged=merged) for i in asked),
            )
            for post, asked in positions.items()
        ]
        return posts, list(positions.values())

    def posts_alone(self) -> dict[int, PreparedUnit]:
        """Return each post's part of the unit by the position of the post, in order."""
        requests: dict[int, list[dict[str, Any]]] = {}
        for request in self.requests:
            requests.setdefault(request["post"], []).append(request)
        return {
            post: replace(
                self,
                posts=1,
                requests=tuple(asked),
                pictures={post: self.pictures[post]} if post in self.pictures else {},
            )
            for post, asked in requests.items()
        }


def _request(row: Mapping[str, Any], example_pictures: Mapping[str, Picture], *, merged: bool) -> Request:
    return Request(
        setting=row["setting"],
        task=row["task"],
        prompt=row["prompt"],
        with_image=row["with_image"],
        max_new_tokens=row["max_new_tokens"],
        round=row["round"],
        labels=None if row["labels"] is None else dict(row["labels"]),
        example_pictures=tuple(example_pictures[sha256] for sha256 in row["example_images"]),
        places=tuple(row["places"]),
        adapter="" if merged else row["adapter"],
    )


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def from_bytes(data: bytes) -> pa.Table:
    """Read a table from an Arrow stream."""
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()
