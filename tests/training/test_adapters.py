import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmsoc_ray.data import LocalStorage
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.digests import combined_digest
from mmsoc_ray.training import (
    AdapterCard,
    adapter_name,
    check_base,
    fetch_adapter,
    find_card,
    list_adapters,
    read_card,
    write_adapter,
)
from mmsoc_ray.training.adapters import CARD, TRAINED_WEIGHTS, file_digests

NAME = "standard-0123456789ab"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    save_file({"weight": torch.arange(4.0)}, folder / TRAINED_WEIGHTS)
    return folder


@pytest.fixture
def card(files: Path) -> AdapterCard:
    digests = file_digests(files)
    return AdapterCard(
        name=NAME, model="tiny", method="full", rank=None, alpha=None, digest=combined_digest(digests),
        base_digest="b" * 64, data_digest="d" * 64, recipe={"rank": 8}, recipe_name="standard", code_version={},
        samples=4, left_out={}, steps=3, epochs=1.0, best_step=3, curves=(), created_at="2026-11-22T00:00:00+00:00",
        files=digests,
    )  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "root")


class Elsewhere:
    """Storage that is not this machine's, as S3 is not."""

    def __init__(self, inner: LocalStorage) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def test_an_adapter_is_there_once_its_card_is(root, card, files):
    assert read_card(root, NAME) is None
    (root.root / card.folder).mkdir(parents=True)
    (root.root / card.folder / TRAINED_WEIGHTS).write_bytes(b"half")
    assert list_adapters(root) == []
    assert write_adapter(root, card, files) == card
    assert list_adapters(root) == [card] == [read_card(root, NAME)]
    assert file_digests(fetch_adapter(root, card)) == card.files


def test_the_first_adapter_of_a_name_stays(root, card, files):
    write_adapter(root, card, files)
    assert write_adapter(root, card.model_copy(update={"steps": 99}), files).steps == 3


class Overtaken(Elsewhere):
    """Storage in which another process does something just before this one writes a card."""

    def __init__(self, inner: LocalStorage, meanwhile: Callable[[], object]) -> None:
        super().__init__(inner)
        self.meanwhile = meanwhile

    def write_once(self, path: str, data: bytes) -> bool:
        self.meanwhile()
        return self.inner.write_once(path, data)


@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_of_two_that_store_an_adapter_at_once_the_first_card_wins_with_its_own_files(
    root, card, files, tmp_path, weight
):
    first = tmp_path / "first"
    first.mkdir()
    save_file({"weight": torch.arange(4.0) * weight}, first / TRAINED_WEIGHTS)
    digests = file_digests(first)
    winner = card.model_copy(update={"files": digests, "digest": combined_digest(digests), "steps": 99})
    second = Overtaken(root, lambda: write_adapter(root, winner, first))
    assert write_adapter(second, card, files) == winner  # type: ignore[arg-type]
    assert file_digests(fetch_adapter(root, winner)) == winner.files
    assert set(root.list_files("adapters")) == {f"{winner.folder}/{TRAINED_WEIGHTS}", f"adapters/{NAME}/{CARD}"}


def test_an_adapter_whose_files_stand_beside_its_card_is_read(root, card, files):
    old = card.model_copy(update={"version": 1})
    shutil.copytree(files, root.root / "adapters" / NAME)
    root.write(f"adapters/{NAME}/{CARD}", old.model_dump_json().encode())
    assert list_adapters(root) == [old] == [write_adapter(root, card, files)]
    assert fetch_adapter(root, old) == root.root / "adapters" / NAME


def test_an_adapter_from_elsewhere_is_fetched_into_the_cache(root, card, files, tmp_path, monkeypatch):
    monkeypatch.setenv("MMSOC_CACHE", str(tmp_path / "cache"))
    write_adapter(root, card, files)
    folder = fetch_adapter(Elsewhere(root), card)  # type: ignore[arg-type]
    assert folder.is_relative_to(tmp_path / "cache")
    assert file_digests(folder) == card.files


@pytest.mark.parametrize("damage", [b"other bytes", None])
def test_a_damaged_file_is_refused_by_name(root, card, files, damage):
    write_adapter(root, card, files)
    file = root.root / card.folder / TRAINED_WEIGHTS
    file.write_bytes(damage) if damage else file.unlink()
    with pytest.raises(ConfigurationError, match=f"{TRAINED_WEIGHTS} (has sha256|is missing).*train the adapter again"):
        fetch_adapter(root, card)


@pytest.mark.parametrize(
    "change", [{"files": {"../../etc/passwd": "0" * 64}}, {"digest": "0" * 64}, {"files": {"model.bin": "0" * 64}}]
)
def test_a_card_that_does_not_fit_its_files_is_refused(root, card, change):
    root.write(f"adapters/{NAME}/{CARD}", card.model_copy(update=change).model_dump_json().encode())
    with pytest.raises(ConfigurationError, match="do not fit together"):
        read_card(root, NAME)


def test_a_card_of_another_version_is_refused_with_what_is_wrong(root, card):
    root.write(f"adapters/{NAME}/{CARD}", b'{"name": "x"}')
    with pytest.raises(ConfigurationError, match=r"no card of this version .*model Field required"):
        read_card(root, NAME)


@pytest.mark.parametrize("name", ["../secrets", "a/b", "", ".hidden"])
def test_a_name_cannot_lead_out_of_the_folder(root, name):
    with pytest.raises(ConfigurationError, match="letters, digits"):
        read_card(root, name)


def test_an_unknown_adapter_is_answered_with_those_that_there_are(root, card, files):
    write_adapter(root, card, files)
    with pytest.raises(ConfigurationError, match=f"Did you mean '{NAME}'"):
        find_card(root, "standard-0123")


def test_an_adapter_of_another_base_is_refused(card):
    check_base(card, "b" * 64, model="tiny")
    with pytest.raises(ConfigurationError, match=r"was trained on 'tiny' with digest bbbbbbbbbbbb.*has cccccccccccc"):
        check_base(card, "c" * 64, model="other")


def test_the_name_changes_with_all_that_shapes_the_weights():
    said = {"base_digest": "b", "data_digest": "d", "sample_format": 1}
    names = {
        adapter_name("mine", {"rank": 8}, **said),
        adapter_name("mine", {"rank": 9}, **said),
        *(adapter_name("mine", {"rank": 8}, **{**said, part: other}) for part, other in
          (("base_digest", "x"), ("data_digest", "x"), ("sample_format", 2))),
    }  # fmt: skip
    assert len(names) == 5
    assert adapter_name("yours", {"rank": 8}, **said).removeprefix("yours") in {
        one.removeprefix("mine") for one in names
    }


@pytest.mark.parametrize(("method", "served"), [("lora", True), ("pissa", True), ("dora", False), ("full", False)])
def test_what_an_engine_serves_beside_the_base(card, method, served):
    assert card.model_copy(update={"method": method}).servable is served
