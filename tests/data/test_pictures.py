import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mmsoc_ray.data import PictureError, decode_picture


def encoded(picture: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A well-formed PNG header of any size with next to no data behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_common_formats_become_rgb(form):
    pixels = decode_picture(encoded(Image.new("RGB", (8, 6), (200, 30, 30)), form), max_side=100)
    assert pixels.shape == (6, 8, 3)
    assert pixels.dtype == np.uint8
    assert abs(int(pixels[3, 3, 0]) - 200) < 12


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_other_modes_become_rgb(mode):
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert decode_picture(encoded(Image.new(mode, (5, 4)), form), max_side=100).shape == (4, 5, 3)


def test_large_pictures_are_scaled_to_the_bound_and_small_ones_stay():
    assert decode_picture(encoded(Image.new("RGB", (400, 100))), max_side=200).shape == (50, 200, 3)
    assert decode_picture(encoded(Image.new("RGB", (40, 10))), max_side=200).shape == (10, 40, 3)
    assert decode_picture(encoded(Image.new("RGB", (1000, 1))), max_side=10).shape == (1, 10, 3)


def test_a_picture_of_50000_by_50000_pixels_is_refused_before_decoding():
    with pytest.raises(PictureError, match=r"2500000000 pixels|50000 x 50000"):
        decode_picture(png_that_claims(50_000, 50_000), max_side=100)


def test_a_picture_just_over_the_bound_is_refused_too():
    with pytest.raises(PictureError, match="8000 x 8000"):
        decode_picture(png_that_claims(8_000, 8_000), max_side=100)


@pytest.mark.parametrize(
    "data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"GIF89a", png_that_claims(100, 100)], ids=str
)
def test_what_is_no_whole_picture_is_an_error_that_says_why(data):
    with pytest.raises(PictureError, match=r"no picture in a known format|broken picture"):
        decode_picture(data, max_side=100)


def test_a_cut_jpeg_is_an_error():
    data = encoded(Image.effect_noise((200, 200), 50).convert("RGB"), "JPEG")
    with pytest.raises(PictureError, match="broken picture"):
        decode_picture(data[: len(data) // 2], max_side=100)


def test_rare_parsers_are_not_tried():
    with pytest.raises(PictureError, match="no picture in a known format"):
        decode_picture(encoded(Image.new("RGB", (4, 4)), "TIFF"), max_side=100)
