"""The words in the pictures of a unit, read once by an OCR engine and kept for all models and all runs of a root."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from mmsoc_ray.data import PictureError, Post, Storage, Unit, decode_picture
from mmsoc_ray.engines import MAX_READ_SIDE, PictureReader
from mmsoc_ray.grid.prepare import Words


@dataclass(frozen=True)
class UnitWords:
    """Reads the words of a unit's pictures, or takes what any run below the root has read before.

    What was read stands in ``words/<reader>/<pictures>.json``, after the digests of all that decides it: the OCR engine
    with its parameters, and the unit's pictures in their order. Deleting it costs time only.

    Attributes:
        root: Output root.
        digest: Digest of the OCR engine and its parameters.
    """

    root: Storage
    digest: str

    def __call__(self, unit: Unit, posts: Sequence[Post]) -> list[Words]:
        """Return the words of each post's picture, in the order of the posts."""
        path = f"words/{self.digest[:12]}/{_pictures_digest(posts)}.json"
        try:
            words = [Words(**item) for item in json.loads(self.root.read(path))]
            if len(words) == len(posts):
                return words
        except (FileNotFoundError, ValueError, TypeError):
            pass  # not read yet, or damaged
        words = [_read(post) for post in posts]
        self.root.write(path, json.dumps([{"text": w.text, "error": w.error} for w in words]).encode())
        return words


def _pictures_digest(posts: Sequence[Post]) -> str:
    total = hashlib.sha256()
    for post in posts:
        total.update(b"-" if post.image is None else hashlib.sha256(post.image).digest())
    return total.hexdigest()


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
