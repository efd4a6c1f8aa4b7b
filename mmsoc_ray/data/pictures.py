"""Decoding pictures that nobody vouches for."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image

MAX_PIXELS = 50_000_000
"""Pictures with more pixels are refused before a pixel is decoded (a bound on memory: 150 MB as RGB)."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats that are decoded; others (and Pillow's many rarer parsers) are refused."""


_ADDRESS = re.compile(r" <_io\.BytesIO object at 0x[0-9a-f]+>")


class PictureError(ValueError):
    """The picture cannot be decoded; the message says why."""


class DecompressionBomb(PictureError):
    """The picture has more pixels than are decoded."""


def decode_picture(data: bytes, *, max_side: int) -> npt.NDArray[np.uint8]:
    """Decode a picture to RGB and scale it down to a bound.

    The first frame of an animation is taken. Orientation tags are not applied, as the models' own processors do not.

    Args:
        data: The file as it came.
        max_side: The longer side is scaled down (bicubic) to this; smaller pictures stay as they are.

    Returns:
        Pixels, RGB, shape (height, width, 3).

    Raises:
        DecompressionBomb: For more than ``MAX_PIXELS``.
        PictureError: For what is no picture of ``FORMATS`` or is cut short.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's bomb warning: our own bound below is the stricter one.
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DecompressionBomb(f"refused before decoding: {error}") from error
    except Exception as error:
        raise PictureError(f"no picture in a known format ({', '.join(FORMATS)}): {_short(error)}") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise DecompressionBomb(f"{width} x {height} pixels are more than the {MAX_PIXELS:,} that are decoded")
    try:
        pixels = picture.convert("RGB")
        longer = max(width, height)
        if longer > max_side:
            size = (max(1, round(width * max_side / longer)), max(1, round(height * max_side / longer)))
            pixels = pixels.resize(size, Image.Resampling.BICUBIC)
        return np.asarray(pixels, dtype=np.uint8)
    except Exception as error:
        raise PictureError(f"broken picture: {_short(error)}") from error


def _short(error: Exception) -> str:
    # Pillow names the object that it read from with its address in memory, which no two runs share.
    return f"{type(error).__name__}: {_ADDRESS.sub('', str(error))}"[:300]
