"""The words in the pictures of a unit, read once by an OCR engine and kept beside the run for all models."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass

from mmsoc_ray.data import PictureError, Post, Storage, Unit, decode_picture
from mmsoc_ray.engines import MAX_READ_SIDE, PictureReader
from mmsoc_ray.grid.prepare import Words


@dataclass(frozen=True)
class RunWords:
    """Reads the words of a unit's pictures, or takes what the run has read before.

    Attributes:
        run: The run's folder.
        digest: Digest of the OCR engine and its parameters.
    """

    run: Storage
    digest: str

    def __call__(self, unit: Unit, posts: Sequence[Post]) -> list[Words]:
        """Return the words of each post's picture, in the order of the posts."""
        path = f"words/{self.digest[:12]}/{unit.unit_id}.json"
        try:
            return [Words(**item) for item in json.loads(self.run.read(path))]
        except FileNotFoundError:
            words = [_read(post) for post in posts]
        self.run.write_once(path, json.dumps([{"text": w.text, "error": w.error} for w in words]).encode())
        return words


def _read(post: Post) -> Words:
    if post.image is None:
        return Words(None, "PictureError: the post has no picture")
    try:
        return Words(_reader().read(decode_picture(post.image, max_side=MAX_READ_SIDE)))
    except PictureError as error:
        return Words(None, f"PictureError: {error}")
    except Exception as error:  # One picture that the OCR engine cannot take never stops a run.
        return Words(None, f"{type(error).__name__}: {error}"[:500])


@functools.cache
def _reader() -> PictureReader:
    return PictureReader()
