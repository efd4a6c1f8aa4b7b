import io

import pytest
from PIL import Image, ImageDraw, ImageFont

import mmsoc_ray.grid.words as words
from mmsoc_ray.data import Unit, open_storage
from mmsoc_ray.grid.prepare import Words
from mmsoc_ray.grid.words import RunWords

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


def test_words_are_read_once_per_run_and_kept_for_all_models(posts, tmp_path, monkeypatch):
    read = RunWords(open_storage(tmp_path), "digest")
    first = read(UNIT, posts)
    assert first[0] == Words("HELLO WORLD")
    monkeypatch.setattr(words, "_read", lambda post: pytest.fail("read again"))
    assert read(UNIT, posts) == first
    assert [file.name for file in tmp_path.rglob("*.json")] == ["u.json"]


def test_pictures_that_cannot_be_read_say_why(posts, tmp_path):
    errors = [item.error for item in RunWords(open_storage(tmp_path), "digest")(UNIT, posts)]
    assert errors[0] is None
    assert errors[1] == "PictureError: the post has no picture"
    assert all(error.startswith("PictureError: ") for error in errors[2:])


def test_another_reader_reads_again(posts, tmp_path, monkeypatch):
    RunWords(open_storage(tmp_path), "digest")(UNIT, posts)
    monkeypatch.setattr(words, "_read", lambda post: Words("other words"))
    assert RunWords(open_storage(tmp_path), "another")(UNIT, posts)[0] == Words("other words")
