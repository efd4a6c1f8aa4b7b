import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmsoc_ray.data import LocalStorage
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import (
    CheckpointError,
    PulledWeights,
    checkpoint_address,
    checkpoint_digest,
    digests,
    get_model,
    locate_weights,
    model_digest,
    resolve_checkpoint,
)
from mmsoc_ray.models.digests import combined_digest
from mmsoc_ray.models.weights import WeightFile, fetch_weights

NAME = "Salesforce/blip2-opt-2.7b"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEXT = "1" * 40
FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "qformer_tokenizer/vocab.txt": b"a\n"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMSOC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path):
    """A folder with the pulled weights of one model."""
    folder = tmp_path / "weights" / NAME / COMMIT
    files = []
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        files.append(WeightFile(path=name, size=len(content), sha256=hashlib.sha256(content).hexdigest()))
    digest = combined_digest({file.path: file.sha256 for file in files})
    manifest = PulledWeights(checkpoint=NAME, revision=COMMIT, files=tuple(files), digest=digest, pulled_at="today")
    (folder / "model.json").write_text(manifest.model_dump_json(indent=1))
    return tmp_path / "weights"


@pytest.fixture
def folder(root):
    return root / NAME / COMMIT


def entry(checkpoint=NAME, **fields):
    return dataclasses.replace(get_model("blip2-opt-2.7b"), checkpoint=str(checkpoint), **fields)


class Remote(LocalStorage):
    """A folder in the place of object storage, that writes down what is fetched of it."""

    def download(self, path: str, file: Path) -> None:
        with (self.root.parent / "fetched").open("a") as log:
            log.write(f"{path}\n")
        super().download(path, file)

    def fetched(self) -> list[str]:
        log = self.root.parent / "fetched"
        return sorted(log.read_text().splitlines()) if log.exists() else []


@pytest.fixture
def remote(folder):
    return Remote(folder)


def test_a_hub_id_becomes_the_folder_of_its_pulled_weights(root, folder):
    located = locate_weights(entry(), str(root))
    assert (located.checkpoint, located.revision) == (str(folder), COMMIT)
    assert resolve_checkpoint(located) == folder


@pytest.mark.parametrize("checkpoint", ["demo:llava", "/models/mine", ""])
def test_any_other_checkpoint_stays_as_it_is(checkpoint, tmp_path):
    assert locate_weights(entry(checkpoint), str(tmp_path)).checkpoint == checkpoint


def test_weights_that_are_not_pulled_are_named_with_the_command(tmp_path):
    said = f"{NAME} is not pulled below {tmp_path}. Run: mmsoc models pull blip2-opt-2.7b --output {tmp_path}"
    with pytest.raises(CheckpointError, match=said):
        locate_weights(entry(), str(tmp_path))


def test_of_several_revisions_the_pinned_one_is_taken_and_none_is_guessed(root, folder):
    shutil.copytree(folder, root / NAME / NEXT)
    with pytest.raises(CheckpointError, match=rf"several revisions .*{COMMIT}, .*{NEXT}\. Name one"):
        locate_weights(entry(), str(root))
    assert locate_weights(entry(revision=NEXT), str(root)).checkpoint == str(root / NAME / NEXT)
    with pytest.raises(CheckpointError, match=f"{NAME} at {'2' * 40} is not pulled"):
        locate_weights(entry(revision="2" * 40), str(root))


def test_an_address_of_s3_stays_itself_and_a_folder_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint_address("s3://bucket/weights/") == "s3://bucket/weights"
    assert checkpoint_address("weights") == str(tmp_path / "weights")


def test_the_digest_of_a_pulled_folder_is_that_of_its_manifest_without_reading(folder, monkeypatch):
    monkeypatch.setenv("MMSOC_CACHE", os.devnull)  # nothing remembered
    monkeypatch.setattr(digests, "file_sha256", lambda file: pytest.fail(f"read {file}"))
    assert checkpoint_digest(entry(folder)) == json.loads((folder / "model.json").read_bytes())["digest"]


@pytest.mark.parametrize("change", ["shorter", "gone", "added"])
def test_a_pulled_folder_that_was_changed_is_refused_by_file(change, folder):
    name = {"shorter": "config.json", "gone": "qformer_tokenizer/vocab.txt", "added": "chat_template.jinja"}[change]
    (folder / name).unlink() if change == "gone" else (folder / name).write_bytes(b"[")
    with pytest.raises(CheckpointError, match=name):
        checkpoint_digest(entry(folder))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"config.json"', '"../../config.json"'),
        ('"config.json"', '"/etc/config.json"'),
        ('"config.json"', '"pytorch_model.bin"'),
        ('"digest": "', '"digest": "0'),
        ('"size": 2,', '"size": -2,'),
        ('"sha256": "44136f', '"sha256": "44136e'),
        (
            "{",
            "",
        ),
    ],
)
def test_a_manifest_that_was_tampered_with_is_refused(old, new, folder):
    text = (folder / "model.json").read_text()
    assert old in text
    (folder / "model.json").write_text(text.replace(old, new, 1))
    with pytest.raises(CheckpointError, match=r"model.json is no manifest of this version"):
        checkpoint_digest(entry(folder))


def test_a_node_fetches_once_and_has_the_digest_of_the_manifest(remote, folder, monkeypatch):
    copy = fetch_weights(remote)
    assert {name: (copy / name).read_bytes() for name in FILES} == FILES
    monkeypatch.setattr(digests, "file_sha256", lambda file: pytest.fail(f"read {file} again"))
    assert fetch_weights(remote) == copy
    assert model_digest(copy) == checkpoint_digest(entry(folder)) == copy.name
    assert remote.fetched() == sorted(FILES)


def test_who_only_reads_prompts_fetches_no_weights(remote):
    readers = fetch_weights(remote, readers_only=True)
    assert fetch_weights(remote, readers_only=True) == readers
    assert remote.fetched() == sorted(set(FILES) - {"model.safetensors"})
    assert (fetch_weights(remote) / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert readers != fetch_weights(remote)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "empty"])
def test_a_damaged_copy_is_fetched_again(damage, remote):
    copy = fetch_weights(remote)
    file = copy / "model.safetensors"
    if damage == "empty":
        shutil.rmtree(copy)
        copy.mkdir()
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + (b"" if damage == "cut" else b"S"))
    assert fetch_weights(remote) == copy
    assert file.read_bytes() == FILES["model.safetensors"]
    assert remote.fetched() == sorted(2 * [*FILES])


def test_bytes_that_are_not_those_of_the_manifest_are_never_used(remote, folder, tmp_path):
    (folder / "model.safetensors").write_bytes(b"WEIGHTS" * 1000)
    with pytest.raises(CheckpointError, match=r"model.safetensors: sha256 is .*, its manifest says"):
        fetch_weights(remote)
    assert not [path for path in (tmp_path / "cache" / "weights").iterdir() if path.is_dir()]


def test_a_disk_that_is_too_small_is_named_before_anything_comes(remote, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(ConfigurationError, match="Set MMSOC_CACHE to a folder on a larger disk"):
        fetch_weights(remote)
    assert remote.fetched() == []


def _fetch_at_once(remote, barrier, found):
    barrier.wait()
    found.put(fetch_weights(remote))


def test_processes_that_ask_at_once_fetch_once(remote):
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_fetch_at_once, args=(remote, barrier, found)) for _ in range(2)]
    for process in processes:
        process.start()
    folders = {found.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(folders) == 1
    assert remote.fetched() == sorted(FILES)
