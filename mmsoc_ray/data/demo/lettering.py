"""Words in the demo's pictures: meme captions, headlines, badges.

The face is Aileron, which Pillow bundles. Text is laid out by Pillow's basic engine, since the other one depends on a
system library and would change bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from mmsoc_ray.data.demo.glyphs import BLACK, WHITE, Colour

Position = Literal["top", "bottom"]

_SMALLEST_CAPTION = 20  # px; RapidOCR and people still read it


@lru_cache(maxsize=1)
def _letter_bytes() -> bytes:
    font = ImageFont.load_default(10)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, so no text can be drawn. Install Pillow's wheel.")
    return bytes(font.font_bytes)


@lru_cache(maxsize=64)
def letters(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of all lettering (Aileron, bundled with Pillow).

    Args:
        size: Height of the em square in pixels.
    """
    return ImageFont.truetype(io.BytesIO(_letter_bytes()), size, layout_engine=ImageFont.Layout.BASIC)


def _gap(size: int) -> int:
    """Pixels between words; the font's own space closes up between thickened letters, and is lost on text readers."""
    return round(size * 0.46)


def length(text: str, size: int) -> float:
    """Return the width in pixels of a line as ``draw_bold`` sets it, without the border."""
    words = text.split()
    return sum(letters(size).getlength(word) for word in words) + _gap(size) * max(0, len(words) - 1)


def wrap(text: str, size: int, width: float) -> list[str]:
    """Break text at spaces into lines of at most ``width`` pixels; a longer word stands alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and length(f"{lines[-1]} {word}", size) <= width:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines


def fit_lines(text: str, width: float, largest: int, smallest: int, most_lines: int) -> tuple[int, list[str]]:
    """Find the largest font at which a text fits into ``most_lines`` lines.

    Args:
        text: The words.
        width: Pixels of a line.
        largest: Font size in pixels to begin with.
        smallest: Font size at which it is written in any case, in more lines if need be.
        most_lines: How many lines at most.

    Returns:
        Font size in pixels, and the lines.
    """
    for size in range(largest, smallest, -2):
        lines = wrap(text, size, width)
        if len(lines) <= most_lines and all(length(line, size) <= width for line in lines):
            return size, lines
    return smallest, wrap(text, smallest, width)


def draw_bold(
    picture: Image.Image,
    at: tuple[float, float],
    text: str,
    size: int,
    *,
    fill: Colour = WHITE,
    outline: Colour | None = None,
    centred: bool = False,
) -> None:
    """Draw a line of bold lettering, in place.

    Pillow bundles no bold face, so the strokes are thickened and the words set further apart.

    Args:
        picture: What is drawn on.
        at: Where the baseline begins, or where its middle is, in pixels.
        text: One line.
        size: Font size in pixels.
        fill: Colour of the letters.
        outline: Colour of a border around them, or None.
        centred: Whether ``at`` is the middle.
    """
    draw = ImageDraw.Draw(picture)
    bold = max(1, size // 26)
    passes = [(fill, bold)] if outline is None else [(outline, bold + max(2, size // 14)), (fill, bold)]
    start = at[0] - length(text, size) / 2 if centred else at[0]
    for colour, stroke in passes:
        left = start
        for word in text.split():
            place = (round(left), at[1])
            draw.text(place, word, colour, letters(size), anchor="ls", stroke_width=stroke, stroke_fill=colour)
            left += letters(size).getlength(word) + _gap(size)


@dataclass(frozen=True)
class Caption:
    """A meme's caption, wrapped and fitted.

    Attributes:
        lines: The words in capitals, as they are broken.
        size: Font size in pixels.
    """

    lines: tuple[str, ...]
    size: int

    @classmethod
    def fit(cls, text: str, width: int) -> Caption:
        """Fit a text into a picture of ``width`` pixels: as large as two lines allow, never below 20 px."""
        size, lines = fit_lines(text.upper(), width * 0.92, width // 12, _SMALLEST_CAPTION, 2)
        return cls(tuple(lines), size)

    @property
    def height(self) -> int:
        """Pixels from the picture's edge to the caption's far side, 0 for an empty text."""
        return len(self.lines) * self._step + 2 * self._margin if self.lines else 0

    @property
    def _step(self) -> int:
        return round(self.size * 1.16)

    @property
    def _margin(self) -> int:
        return round(self.size * 0.3)

    def draw(self, picture: Image.Image, position: Position) -> None:
        """Draw the caption in place, bold and white with a black border, at one edge."""
        first = self._margin if position == "top" else picture.height - self.height + self._margin
        for number, line in enumerate(self.lines):
            baseline = first + number * self._step + round(self.size * 0.86)
            draw_bold(picture, (picture.width / 2, baseline), line, self.size, outline=BLACK, centred=True)


def draw_caption(picture: Image.Image, text: str, position: Position) -> int:
    """Draw a meme's caption in place: bold white capitals with a black border, wrapped and fitted.

    Args:
        picture: What is drawn on.
        text: The caption; it is drawn in capitals.
        position: At which edge.

    Returns:
        Height in pixels that the caption takes from that edge, 0 for an empty text.
    """
    caption = Caption.fit(text, picture.width)
    caption.draw(picture, position)
    return caption.height


def draw_lines(
    picture: Image.Image, box: tuple[int, int, int, int], text: str, *, largest: int, fill: Colour, most_lines: int = 2
) -> Sequence[str]:
    """Draw bold text into a box, in place, left-aligned, as large as it fits.

    Args:
        picture: What is drawn on.
        box: Left, top, right, bottom in pixels.
        text: What is written, as it is.
        largest: Largest font size in pixels.
        fill: Colour of the letters.
        most_lines: How many lines at most.

    Returns:
        The lines as they were broken.
    """
    left, top, right, bottom = box
    size, lines = fit_lines(text, right - left, largest, 12, most_lines)
    step = round(size * 1.18)
    first = top + max(0, (bottom - top - step * len(lines)) // 2)
    for number, line in enumerate(lines):
        draw_bold(picture, (left, first + number * step + round(size * 0.9)), line, size, fill=fill)
    return lines
