"""What stands behind the glyphs: twelve kinds of background, in named colours, drawn with Pillow."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw

from mmsoc_ray.data.demo.glyphs import Colour

Size = tuple[int, int]

COLOURS: Mapping[str, Colour] = {
    "red": (214, 69, 65),
    "orange": (240, 148, 60),
    "yellow": (247, 208, 84),
    "green": (96, 175, 98),
    "teal": (63, 164, 162),
    "blue": (72, 132, 214),
    "purple": (138, 96, 190),
    "pink": (238, 140, 176),
    "brown": (150, 104, 70),
    "grey": (150, 156, 164),
}
"""Names of colours as the descriptions say them, with their RGB values."""


def shade(colour: Colour, factor: float) -> Colour:
    """Return a colour made darker (factor below 1) or lighter (above 1, towards white)."""
    if factor <= 1:
        red, green, blue = (round(part * factor) for part in colour)
    else:
        red, green, blue = (round(part + (255 - part) * min(1.0, factor - 1)) for part in colour)
    return red, green, blue


def _vertical(size: Size, top: Colour, bottom: Colour) -> Image.Image:
    mask = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def _flat(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    return Image.new("RGB", size, shade(colour, 1.25))


def _gradient(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    return _vertical(size, shade(colour, 0.7), shade(colour, 1.6))


def _stripes(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    picture = Image.new("RGB", size, shade(colour, 1.5))
    draw = ImageDraw.Draw(picture)
    step = rng.choice((28, 36, 44))
    for x in range(-size[1], size[0], step * 2):
        draw.polygon([(x, size[1]), (x + step, size[1]), (x + step + size[1], 0), (x + size[1], 0)], fill=colour)
    return picture


def _rays(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    picture = Image.new("RGB", size, shade(colour, 1.45))
    draw = ImageDraw.Draw(picture)
    reach = max(size)
    box = (size[0] // 2 - reach, size[1] // 2 - reach, size[0] // 2 + reach, size[1] // 2 + reach)
    turn = rng.randrange(0, 15)
    for start in range(turn, turn + 360, 30):
        draw.pieslice(box, start, start + 15, fill=colour)
    return picture


def _dots(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    picture = Image.new("RGB", size, shade(colour, 1.6))
    draw = ImageDraw.Draw(picture)
    step, radius = 48, rng.choice((11, 14))
    for row, y in enumerate(range(0, size[1] + step, step)):
        for x in range(-step, size[0] + step, step):
            middle = x + (step // 2 if row % 2 else 0)
            draw.ellipse((middle - radius, y - radius, middle + radius, y + radius), fill=colour)
    return picture


def _hills(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    width, height = size
    picture = _vertical(size, shade(colour, 1.35), shade(colour, 1.85))
    draw = ImageDraw.Draw(picture)
    sun = (rng.choice((width // 5, width - width // 5)), height // 3)
    draw.ellipse((sun[0] - 36, sun[1] - 36, sun[0] + 36, sun[1] + 36), fill=(255, 226, 110))
    greens = ((128, 190, 104), (98, 166, 88), (74, 142, 76))
    for number, green in enumerate(greens):
        top = round(height * (0.52 + 0.13 * number))
        middle = rng.randrange(0, width)
        wide = round(width * rng.uniform(0.8, 1.1))
        draw.ellipse((middle - wide, top, middle + wide, top + height), fill=green)
        draw.rectangle((0, top + round(height * 0.16), width, height), fill=green)
    return picture


def _room(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    width, height = size
    floor = round(height * 0.68)
    picture = Image.new("RGB", size, shade(colour, 1.45))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, floor, width, height), fill=(176, 132, 92))
    for y in range(floor + 18, height, 26):
        draw.line((0, y, width, y), fill=(150, 110, 74), width=2)
    draw.rectangle((0, floor - 10, width, floor), fill=(245, 240, 232))
    left = rng.choice((round(width * 0.08), round(width * 0.66)))
    top = round(height * 0.22)
    draw.rectangle((left, top, left + round(width * 0.26), top + round(height * 0.28)), fill=(245, 240, 232))
    inner = (left + 8, top + 8, left + round(width * 0.26) - 8, top + round(height * 0.28) - 8)
    draw.rectangle(inner, fill=(168, 212, 240))
    draw.line(
        ((inner[0] + inner[2]) // 2, inner[1], (inner[0] + inner[2]) // 2, inner[3]), fill=(245, 240, 232), width=6
    )
    return picture


def _city(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    width, height = size
    picture = _vertical(size, colour, shade(colour, 1.75))
    draw = ImageDraw.Draw(picture)
    for depth, (dark, base) in enumerate((((104, 112, 140), 0.36), ((62, 68, 94), 0.52))):
        x = -rng.randrange(0, 30)
        while x < width:
            wide = rng.randrange(40, 76)
            top = round(height * (base + rng.uniform(0, 0.2)))
            draw.rectangle((x, top, x + wide, height), fill=dark)
            if depth:
                for window_y in range(top + 12, height - 8, 24):
                    for window_x in range(x + 8, x + wide - 12, 18):
                        if rng.random() < 0.55:
                            draw.rectangle((window_x, window_y, window_x + 8, window_y + 11), fill=(255, 224, 140))
            x += wide + rng.randrange(2, 10)
    return picture


def _sea(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    width, height = size
    picture = _vertical(size, shade(colour, 1.3), shade(colour, 1.9))
    draw = ImageDraw.Draw(picture)
    horizon = round(height * 0.5)
    for number, blue in enumerate(((74, 146, 206), (58, 126, 190), (44, 106, 172), (34, 88, 152))):
        top = horizon + number * (height - horizon) // 4
        draw.rectangle((0, top, width, height), fill=blue)
        shift = rng.randrange(0, 48)
        for x in range(-shift, width + 48, 48):
            draw.ellipse((x, top - 9, x + 48, top + 11), fill=blue)
    return picture


def _night(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    width, height = size
    picture = _vertical(size, (14, 18, 46), shade(colour, 0.5))
    draw = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, radius = rng.randrange(width), rng.randrange(height), rng.choice((1, 1, 1, 2))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(188, 186, 176))
    x, y = rng.choice((width // 6, width - width // 6)), height // 3
    draw.ellipse((x - 34, y - 34, x + 34, y + 34), fill=(250, 240, 200))
    draw.ellipse(
        (x - 18, y - 42, x + 46, y + 22), fill=picture.getpixel((x + 60 if x < width // 2 else x - 60, y - 20))
    )
    return picture


def _beach(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    width, height = size
    picture = _vertical(size, shade(colour, 1.2), shade(colour, 1.8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, round(height * 0.46), width, height), fill=(72, 150, 208))
    draw.ellipse((-width // 3, round(height * 0.6), width + width // 3, height * 2), fill=(238, 212, 150))
    for _ in range(70):
        x, y = rng.randrange(width), rng.randrange(round(height * 0.72), height)
        draw.point((x, y), fill=(200, 170, 110))
    return picture


def _stage(size: Size, colour: Colour, rng: random.Random) -> Image.Image:
    width, height = size
    picture = Image.new("RGB", size, shade(colour, 0.35))
    draw = ImageDraw.Draw(picture)
    draw.polygon(
        [(width // 2 - 30, 0), (width // 2 + 30, 0), (width - 40, height), (40, height)], fill=shade(colour, 0.8)
    )
    draw.ellipse((30, round(height * 0.76), width - 30, round(height * 0.98)), fill=shade(colour, 1.4))
    for side in (0, 1):
        for fold in range(3):
            left = fold * 22 if not side else width - 22 - fold * 22
            draw.rectangle((left, 0, left + 22, height), fill=shade((176, 38, 48), 1.0 - 0.16 * fold))
    return picture


_DRAW: Mapping[str, Callable[[Size, Colour, random.Random], Image.Image]] = {
    "flat": _flat,
    "gradient": _gradient,
    "stripes": _stripes,
    "rays": _rays,
    "dots": _dots,
    "hills": _hills,
    "room": _room,
    "city": _city,
    "sea": _sea,
    "night": _night,
    "beach": _beach,
    "stage": _stage,
}
_WORDS: Mapping[str, str] = {
    "flat": "a plain {colour} background",
    "gradient": "a background that fades from dark to light {colour}",
    "stripes": "{colour} diagonal stripes",
    "rays": "{colour} rays spreading from the middle",
    "dots": "{colour} dots",
    "hills": "green hills and a yellow sun under {a_colour} sky",
    "room": "a room with {a_colour} wall, a window and a wooden floor",
    "city": "a city skyline with lit windows under {a_colour} sky",
    "sea": "a blue sea with waves under {a_colour} sky",
    "night": "a dark {colour} night sky with stars and a moon",
    "beach": "a sandy beach and blue water under {a_colour} sky",
    "stage": "a stage with red curtains and {colour} light",
}
BACKGROUNDS: tuple[str, ...] = tuple(_DRAW)
"""Kinds of background."""


@dataclass(frozen=True)
class Background:
    """What stands behind the glyphs.

    Attributes:
        kind: One of ``BACKGROUNDS``.
        colour: One of ``COLOURS``.
    """

    kind: str
    colour: str

    def __post_init__(self) -> None:
        if self.kind not in _DRAW:
            raise ValueError(f"kind: no background is called {self.kind!r}; allowed are {', '.join(BACKGROUNDS)}")
        if self.colour not in COLOURS:
            raise ValueError(f"colour: no colour is called {self.colour!r}; allowed are {', '.join(COLOURS)}")

    def draw(self, size: Size, rng: random.Random) -> Image.Image:
        """Return an RGB picture of ``size`` (width, height) in pixels; details are drawn by ``rng``."""
        return _DRAW[self.kind](size, COLOURS[self.colour], rng)

    def describe(self) -> str:
        """Return the background in words, for a sentence such as "A cat in front of ..."."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        return _WORDS[self.kind].format(colour=self.colour, a_colour=f"{article} {self.colour}")
