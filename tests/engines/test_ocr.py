from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mmsoc_ray.engines import Picture, PictureReader
from mmsoc_ray.engines.ocr import reading_order
from mmsoc_ray.errors import ConfigurationError


def draw(*lines: tuple[int, int, str]) -> Picture:
    picture = Image.new("RGB", (480, 200), "white")
    for x, y, text in lines:
        ImageDraw.Draw(picture).text((x, y), text, fill="black", font=ImageFont.load_default(36))
    return np.asarray(picture)


@pytest.fixture(scope="module")
def reader() -> PictureReader:
    pytest.importorskip("rapidocr")
    return PictureReader()


def test_words_are_read_from_top_to_bottom_and_left_to_right(reader: PictureReader) -> None:
    picture = draw((20, 120, "BUG IN CODE"), (20, 20, "WHEN"), (260, 26, "YOU FIND"))
    assert reader.read(picture).split() == ["WHEN", "YOU", "FIND", "BUG", "IN", "CODE"]


def test_a_picture_without_words_has_none(reader: PictureReader) -> None:
    assert reader.read(draw()) == ""


def test_the_same_picture_reads_the_same_twice(reader: PictureReader) -> None:
    picture = draw((20, 60, "MONDAY AGAIN"))
    assert reader.read(picture) == PictureReader().read(picture)


@pytest.mark.parametrize("shape", [(0, 0, 3), (10, 10), (10, 10, 4)])
def test_a_broken_picture_raises_and_the_next_is_read(reader: PictureReader, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        reader.read(np.zeros(shape, np.uint8))
    assert reader.read(draw((20, 60, "FINE"))) == "FINE"


def test_tiny_pictures_are_read_as_empty(reader: PictureReader) -> None:
    assert reader.read(np.zeros((1, 1, 3), np.uint8)) == ""


def test_the_digest_changes_with_the_parameters(reader: PictureReader) -> None:
    assert reader.digest == PictureReader().digest
    assert reader.digest != PictureReader(min_confidence=0.9).digest


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "rapidocr", raising=False)
    with pytest.raises(ConfigurationError, match=r"pip install 'mmsoc-ray\[ocr\]'"):
        PictureReader()


def test_a_slanted_line_is_one_line() -> None:
    def box(x: float, y: float) -> list[list[float]]:
        return [[x, y], [x + 50, y], [x + 50, y + 20], [x, y + 20]]

    boxes = np.array([box(120, 8), box(0, 40), box(60, 4), box(0, 0)])
    assert reading_order(boxes) == [3, 2, 0, 1]
