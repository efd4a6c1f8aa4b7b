"""What draws the demo's pictures, and how they are encoded: the same bytes each time."""

from __future__ import annotations

import io

from PIL import Image

from mmsoc_ray.data.demo.glyphs import MissingGlyphError, glyph, place_glyph
from mmsoc_ray.data.demo.lettering import Caption, draw_bold, draw_caption, draw_lines


def encode_jpeg(picture: Image.Image) -> bytes:
    """Return the picture as a JPEG file with fixed parameters (quality 86, 4:2:0, no metadata)."""
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=86, subsampling=2, optimize=True)
    return file.getvalue()


def encode_png(picture: Image.Image) -> bytes:
    """Return the picture as a PNG file with fixed parameters (compression 6, no metadata)."""
    file = io.BytesIO()
    picture.convert("RGB").save(file, "PNG", compress_level=6)
    return file.getvalue()


__all__ = [
    "Caption",
    "MissingGlyphError",
    "draw_bold",
    "draw_caption",
    "draw_lines",
    "encode_jpeg",
    "encode_png",
    "glyph",
    "place_glyph",
]
