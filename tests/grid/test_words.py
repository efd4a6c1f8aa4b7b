import io

import pytest
from PIL import Image, ImageDraw, ImageFont

import mmsoc_ray.grid.words as words
from mmsoc_ray.data import Unit, open_storage
from mmsoc_ray.grid.prepare import Words
from mmsoc_ray.grid.words import UnitWords

UNIT = Unit("u", "toy_memes", "test", "shard", 0, 4)


def lettered(text: str) -> bytes:
    picture = Image.new("RGB", (400, 80), "white")
    ImageDraw.Draw(picture).text((20, 20), text, fill="black", font=ImageFont.load_default(40))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def posts(toy, make_meme):
    # Beside a picture with words: none, a broken one, and one that claims 50,000 x 50,000 pixels.
    return [make_meme("m1", image=lettered("HELLO WORLD")), *toy.memes[2:5]]


def test_words_are_read_once_and_kept_for_all_models_and_runs(posts, tmp_path, monkeypatch):
    read = UnitWords(open_storage(tmp_path), "digest")
    first = read(UNIT, posts)
    assert first[0] == Words("HELLO WORLD")
    monkeypatch.setattr(words, "_read", lambda post: pytest.fail("read again"))
    assert read(UNIT, posts) == first
    assert len(list(tmp_path.glob("words/digest/*.json"))) == 1


def test_pictures_that_cannot_be_read_say_why(posts, tmp_path):
    errors = [item.error for item in UnitWords(open_storage(tmp_path), "digest")(UNIT, posts)]
    assert errors[0] is None
    assert errors[1] == "PictureError: the post has no picture"
    assert all(error.startswith("PictureError: ") for error in errors[2:])


def test_another_reader_reads_again(posts, tmp_path, monkeypatch):
    UnitWords(open_storage(tmp_path), "digest")(UNIT, posts)
    monkeypatch.setattr(words, "_read", lambda post: Words("other words"))
    assert UnitWords(open_storage(tmp_path), "another")(UNIT, posts)[0] == Words("other words")
