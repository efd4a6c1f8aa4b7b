"""Pictures composed of a background and glyphs; a composition belongs to one split.

A composition is a kind of background with an arrangement of glyphs. Every split sees every background and every
arrangement, but no split sees a pair of them that another one has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from mmsoc_ray.data.demo.backgrounds import BACKGROUNDS, COLOURS, Background, Size
from mmsoc_ray.data.demo.glyphs import WHITE, place_glyph
from mmsoc_ray.data.demo.lexicon import NOUNS

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Frame:
    """Where glyphs may stand, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def at(self, x: float, y: float) -> tuple[int, int]:
        """Return the point at the share ``x`` of the width and ``y`` of the height."""
        return round(self.left + x * (self.right - self.left)), round(self.top + y * (self.bottom - self.top))

    def side(self, share: float) -> int:
        """Return a share of the shorter side, in steps of 16 pixels so that drawn glyphs are reused."""
        shorter = min(self.right - self.left, round(1.25 * (self.bottom - self.top)))
        return max(40, round(share * shorter) // 16 * 16)


def _portrait(picture: Image.Image, frame: Frame, glyphs: Sequence[str], rng: random.Random) -> None:
    place_glyph(picture, glyphs[0], frame.at(0.5, 0.48), frame.side(0.72))
    place_glyph(picture, glyphs[1], frame.at(0.83, 0.74), frame.side(0.36), angle=rng.choice((-12, 0, 12)))
    _corner(picture, frame, glyphs, (0.16, 0.26))


def _pair(picture: Image.Image, frame: Frame, glyphs: Sequence[str], rng: random.Random) -> None:
    place_glyph(
        picture, glyphs[0], frame.at(0.28, 0.5), frame.side(0.56), flip=rng.random() < 0.5 and _may_flip(glyphs[0])
    )
    place_glyph(picture, glyphs[1], frame.at(0.73, 0.56), frame.side(0.46))
    _corner(picture, frame, glyphs, (0.52, 0.18))


def _diagonal(picture: Image.Image, frame: Frame, glyphs: Sequence[str], rng: random.Random) -> None:
    place_glyph(picture, glyphs[0], frame.at(0.27, 0.36), frame.side(0.52), angle=rng.choice((6, 12)))
    place_glyph(picture, glyphs[1], frame.at(0.72, 0.68), frame.side(0.46), angle=rng.choice((-6, -12)))
    _corner(picture, frame, glyphs, (0.86, 0.2))


def _thought(picture: Image.Image, frame: Frame, glyphs: Sequence[str], rng: random.Random) -> None:
    draw = ImageDraw.Draw(picture)
    radius, (x, y) = frame.side(0.36), frame.at(0.72, 0.34)
    for share, (dot_x, dot_y) in ((0.09, frame.at(0.46, 0.62)), (0.14, frame.at(0.53, 0.52))):
        dot = round(radius * share)
        draw.ellipse((dot_x - dot, dot_y - dot, dot_x + dot, dot_y + dot), fill=WHITE, outline=(70, 70, 70), width=2)
    wide, high = round(radius * 0.86), round(radius * 0.72)
    draw.ellipse((x - wide, y - high, x + wide, y + high), fill=WHITE, outline=(70, 70, 70), width=3)
    place_glyph(picture, glyphs[1], (x, y), frame.side(0.34))
    place_glyph(picture, glyphs[0], frame.at(0.26, 0.64), frame.side(0.54))
    _corner(picture, frame, glyphs, (0.86, 0.84))


def _crowd(picture: Image.Image, frame: Frame, glyphs: Sequence[str], rng: random.Random) -> None:
    for x, y in ((0.1, 0.22), (0.12, 0.78), (0.25, 0.52), (0.75, 0.52), (0.9, 0.22), (0.88, 0.78)):
        place_glyph(picture, glyphs[1], frame.at(x, y), frame.side(0.24), angle=rng.choice((-10, 0, 10)))
    place_glyph(picture, glyphs[0], frame.at(0.5, 0.48), frame.side(0.52))
    _corner(picture, frame, glyphs, (0.5, 0.92))


def _podium(picture: Image.Image, frame: Frame, glyphs: Sequence[str], rng: random.Random) -> None:
    left, top = frame.at(0.3, 0.7)
    right, bottom = frame.at(0.7, 1.0)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, right, bottom), fill=(186, 190, 198), outline=(90, 94, 104), width=3)
    draw.rectangle((left - 12, top, right + 12, top + 14), fill=(214, 218, 226), outline=(90, 94, 104), width=3)
    size = frame.side(0.56)
    place_glyph(picture, glyphs[0], (frame.at(0.5, 0)[0], top - round(size * 0.46)), size)
    place_glyph(picture, glyphs[1], frame.at(0.15, 0.8), frame.side(0.32))
    _corner(picture, frame, glyphs, (0.86, 0.82))


def _mirror(picture: Image.Image, frame: Frame, glyphs: Sequence[str], rng: random.Random) -> None:
    place_glyph(picture, glyphs[0], frame.at(0.22, 0.52), frame.side(0.54))
    place_glyph(picture, glyphs[0], frame.at(0.78, 0.52), frame.side(0.54), flip=_may_flip(glyphs[0]))
    place_glyph(picture, glyphs[1], frame.at(0.5, 0.58), frame.side(0.34))
    _corner(picture, frame, glyphs, (0.5, 0.16))


def _framed(picture: Image.Image, frame: Frame, glyphs: Sequence[str], rng: random.Random) -> None:
    half, (x, y) = frame.side(0.68) // 2, frame.at(0.36, 0.5)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x - half, y - half, x + half, y + half), fill=(250, 246, 236), outline=(128, 92, 54), width=9)
    place_glyph(picture, glyphs[0], (x, y), frame.side(0.5))
    place_glyph(picture, glyphs[1], frame.at(0.8, 0.66), frame.side(0.36), angle=rng.choice((-8, 8)))
    _corner(picture, frame, glyphs, (0.8, 0.22))


def _may_flip(char: str) -> bool:
    """Whether the glyph has no letters or digits, which would be seen in a mirror."""
    return char not in "📅📧🤬ℹ"


def _corner(picture: Image.Image, frame: Frame, glyphs: Sequence[str], place: tuple[float, float]) -> None:
    """Draw the third glyph, where there is one, small."""
    if len(glyphs) > 2:
        place_glyph(picture, glyphs[2], frame.at(*place), frame.side(0.24))


_ARRANGE: Mapping[str, Callable[[Image.Image, Frame, Sequence[str], random.Random], None]] = {
    "portrait": _portrait,
    "pair": _pair,
    "diagonal": _diagonal,
    "thought": _thought,
    "crowd": _crowd,
    "podium": _podium,
    "mirror": _mirror,
    "framed": _framed,
}
_WORDS: Mapping[str, str] = {
    "portrait": "{0} in the middle, large, and {1} at the lower right",
    "pair": "{0} on the left and {1} on the right",
    "diagonal": "{0} at the upper left and {1} at the lower right",
    "thought": "{0} thinking of {1} in a white bubble",
    "crowd": "{0} in the middle of six small copies of {1}",
    "podium": "{0} on a grey pedestal and {1} at the lower left",
    "mirror": "{0}, twice, on either side of {1}",
    "framed": "{0} in a brown picture frame and {1} beside it",
}
ARRANGEMENTS: tuple[str, ...] = tuple(_ARRANGE)
"""Ways to place two or three glyphs."""

_SHARES: Mapping[str, range] = {"train": range(4), "validation": range(4, 6), "test": range(6, 8)}


def compositions(split: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of background kind and arrangement that belong to a split: 48, 24 and 24 of the 96."""
    return tuple(
        (kind, arrangement)
        for row, kind in enumerate(BACKGROUNDS)
        for column, arrangement in enumerate(ARRANGEMENTS)
        if (row + column) % len(ARRANGEMENTS) in _SHARES[split]
    )


@dataclass(frozen=True)
class Scene:
    """A background with glyphs in front.

    Attributes:
        background: What stands behind.
        arrangement: One of ``ARRANGEMENTS``.
        glyphs: Two or three code points, the main one first.
        size: Width and height in pixels.
        seed: Decides the details.
    """

    background: Background
    arrangement: str
    glyphs: tuple[str, ...]
    size: Size
    seed: str

    @property
    def composition(self) -> str:
        """The pair of background kind and arrangement, as ``<kind>+<arrangement>``."""
        return f"{self.background.kind}+{self.arrangement}"

    def draw(self, top: int = 0, bottom: int = 0) -> Image.Image:
        """Return the picture; ``top`` and ``bottom`` pixels are kept free of glyphs."""
        rng = random.Random(self.seed)  # noqa: S311 - reproducible drawing, not secrecy
        picture = self.background.draw(self.size, rng)
        frame = Frame(12, top + 6, self.size[0] - 12, self.size[1] - bottom - 6)
        _ARRANGE[self.arrangement](picture, frame, self.glyphs, rng)
        return picture

    def describe(self) -> str:
        """Return what is seen in front, in words: subjects, their colours and places."""
        words = _WORDS[self.arrangement].format(*(NOUNS[char] for char in self.glyphs))
        return f"{words}, with {NOUNS[self.glyphs[2]]}" if len(self.glyphs) > 2 else words


def choose_scene(
    split: str,
    glyphs: tuple[str, ...],
    size: Size,
    rng: random.Random,
    kinds: Sequence[str] = BACKGROUNDS,
) -> Scene:
    """Choose one of the split's compositions and a colour by chance."""
    kind, arrangement = rng.choice([pair for pair in compositions(split) if pair[0] in kinds])
    colour = rng.choice(("blue", "teal", "pink", "orange") if kind in ("sea", "beach", "hills") else tuple(COLOURS))
    return Scene(Background(kind, colour), arrangement, glyphs, size, f"scene {rng.getrandbits(64)}")
