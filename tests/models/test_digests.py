import dataclasses
import os
import shutil
import threading

import pytest

from mmsoc_ray.models import CheckpointError, digests, get_model, known_digest, model_digest
from mmsoc_ray.models.packaged import file_sha256


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


@pytest.mark.parametrize("name", ["pytorch_model.bin", "onnx/model.safetensors", "modeling.py", "model.json"])
def test_weights_that_no_engine_loads_do_not_enter(name, checkpoint):
    before = model_digest(checkpoint)
    (checkpoint / name).parent.mkdir(exist_ok=True)
    (checkpoint / name).write_bytes(b"other weights")
    assert model_digest(checkpoint) == before


def test_the_readers_of_a_folder_below_enter(checkpoint):
    before = model_digest(checkpoint)
    (checkpoint / "qformer_tokenizer").mkdir()
    (checkpoint / "qformer_tokenizer" / "vocab.txt").write_text("a")
    assert model_digest(checkpoint) != before


def test_a_change_that_keeps_size_and_time_is_seen(checkpoint):
    file = checkpoint / "model.safetensors"
    _touch(file, 1_000_000_000)
    before = model_digest(checkpoint)
    file.write_bytes(b"weightz")
    _touch(file, 1_000_000_000)
    assert model_digest(checkpoint) != before


def test_a_file_that_changes_while_it_is_read_is_not_remembered(checkpoint, monkeypatch):
    file = checkpoint / "model.safetensors"

    def read_and_write(path):
        sha256 = file_sha256(path)
        if path == file:
            file.write_bytes(b"weights, more of them")
        return sha256

    monkeypatch.setattr(digests, "file_sha256", read_and_write)
    torn = model_digest(checkpoint)
    monkeypatch.undo()
    assert model_digest(checkpoint) != torn


def test_several_askers_at_once_read_a_file_once(checkpoint, monkeypatch):
    read = []

    def slow(file):
        read.append(file.name)
        threading.Event().wait(0.1)
        return file_sha256(file)

    monkeypatch.setattr(digests, "file_sha256", slow)
    askers = [threading.Thread(target=model_digest, args=(checkpoint,)) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert sorted(read) == ["config.json", "model.safetensors"]


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


def test_a_digest_is_known_without_reading_once_it_was_computed_and_until_a_file_changes(checkpoint, monkeypatch):
    entry = dataclasses.replace(get_model("llava-1.5-7b"), checkpoint=str(checkpoint))
    with monkeypatch.context() as unread:
        unread.setattr(digests, "file_sha256", lambda file: pytest.fail(f"{file} was read"))
        assert known_digest(entry) is None
    digest = model_digest(checkpoint)
    monkeypatch.setattr(digests, "file_sha256", lambda file: pytest.fail(f"{file} was read"))
    assert known_digest(entry) == digest
    _touch(checkpoint / "model.safetensors", 2_000_000_000)
    assert known_digest(entry) is None


@pytest.mark.parametrize("address", ["", "owner/name", "/absent", "demo:absent"])
def test_of_what_is_not_there_no_digest_is_known(address):
    assert known_digest(dataclasses.replace(get_model("llava-1.5-7b"), checkpoint=address)) is None
