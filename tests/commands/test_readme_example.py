"""The README's example: its own text, on a folder that nobody prepared."""

import csv
import io
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

README = (Path(__file__).parents[2] / "README.md").read_text()
(EXAMPLE,) = (block for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "mapping:" in block)


def encoded(form, mode):
    file = io.BytesIO()
    Image.effect_noise((40, 30), 90).convert(mode).save(file, form)
    return file.getvalue()


PICTURES = {
    "a b.PNG": encoded("PNG", "RGBA"),
    "animation.GIF": encoded("GIF", "P"),
    "w.WebP": encoded("WEBP", "RGB"),
    "print.JPG": encoded("JPEG", "CMYK"),
    "größe.jpeg": encoded("JPEG", "RGB"),
    "grey.png": encoded("PNG", "LA"),
}


@pytest.fixture
def stranger(toy, tmp_path, monkeypatch):
    """A folder as people have it, the README's file beside it, and a model."""
    (tmp_path / "my_folder/pictures").mkdir(parents=True)
    for name, data in PICTURES.items():
        (tmp_path / "my_folder/pictures" / name).write_bytes(data)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(["id", "file", "caption", "funny"])
    for number, name in enumerate([*PICTURES, "gone.png"]):
        writer.writerow([f"post/{number}/ünïcødé/xx", name, f'"Hi",\nsaid {number}', number % 2])
    (tmp_path / "my_folder/labels.csv").write_bytes(b"\xef\xbb\xbf" + file.getvalue().encode())
    (tmp_path / "my_memes.yaml").write_text(EXAMPLE)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine").symlink_to(toy.checkpoint)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_has_at_most_15_lines():
    assert len(EXAMPLE.splitlines()) <= 15


def test_the_example_becomes_a_running_evaluation(stranger, ray_session, mmsoc, capsys):
    assert "`mmsoc run my_memes.yaml`" in README
    assert mmsoc("run", "my_memes.yaml") == 0
    said = capsys.readouterr()
    assert "7 rows read, 6 posts kept (test 6), 1 dropped" in said.err
    assert "labels.csv, row 7: pictures/gone.png" in said.err
    assert "macro_f1" in said.out
    (folder,) = stranger.glob("mmsoc-output/runs/my_memes/model=mine/config=*/predictions")
    rows = pq.read_table(folder).to_pylist()
    assert sorted(row["sample_id"] for row in rows) == [f"post/{n}/ünïcødé/xx" for n in range(6)]
    assert all(row["error"] is None for row in rows)
