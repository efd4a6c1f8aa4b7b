"""The demo data: small sets shaped like those of the social-media tasks, drawn and written by this project."""

from mmsoc_ray.data.demo.backgrounds import BACKGROUNDS, COLOURS, Background
from mmsoc_ray.data.demo.pictures import (
    MissingGlyphError,
    draw_caption,
    encode_jpeg,
    encode_png,
    glyph,
    place_glyph,
)

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "Background",
    "MissingGlyphError",
    "draw_caption",
    "encode_jpeg",
    "encode_png",
    "glyph",
    "place_glyph",
]
