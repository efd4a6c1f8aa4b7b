import os
import shutil

import pytest

from mmsoc_ray.models import CheckpointError, digests, model_digest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMSOC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def _touch(file, seconds):
    os.utime(file, (seconds, seconds))


def test_a_changed_byte_changes_the_digest(checkpoint):
    before = model_digest(checkpoint)
    (checkpoint / "model.safetensors").write_bytes(b"weightz")
    _touch(checkpoint / "model.safetensors", 2_000_000_000)
    assert model_digest(checkpoint) != before


def test_a_renamed_file_changes_the_digest(checkpoint):
    before = model_digest(checkpoint)
    (checkpoint / "model.safetensors").rename(checkpoint / "other.safetensors")
    assert model_digest(checkpoint) != before


def test_place_and_time_of_the_folder_do_not_enter(checkpoint, tmp_path):
    copy = shutil.copytree(checkpoint, tmp_path / "elsewhere")
    _touch(copy / "config.json", 1_000_000_000)
    assert model_digest(copy) == model_digest(checkpoint)


def test_files_that_shape_no_answer_do_not_enter(checkpoint):
    before = model_digest(checkpoint)
    (checkpoint / "README.md").write_text("hello")
    (checkpoint / ".cache").mkdir()
    (checkpoint / ".cache" / "note.json").write_text("{}")
    assert model_digest(checkpoint) == before


def test_unchanged_files_are_not_read_again(checkpoint, monkeypatch):
    before = model_digest(checkpoint)
    monkeypatch.setattr(digests, "file_sha256", lambda file: pytest.fail(f"read {file} again"))
    assert model_digest(checkpoint) == before


def test_a_damaged_note_is_ignored(checkpoint, tmp_path):
    before = model_digest(checkpoint)
    for note in (tmp_path / "cache" / "digests").iterdir():
        note.write_text("half a di")
    assert model_digest(checkpoint) == before


def test_a_cache_that_cannot_be_written_does_not_stop_it(checkpoint, tmp_path, monkeypatch):
    before = model_digest(checkpoint)
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("MMSOC_CACHE", str(blocked))
    assert model_digest(checkpoint) == before


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=str(tmp_path / "nothing")):
        model_digest(tmp_path / "nothing")
