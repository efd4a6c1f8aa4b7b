"""A training whose disk fills up: the error names cause and remedy, and what was kept is gone on from."""

import sys
import tempfile
from pathlib import Path

import pytest
from small_disk import NoSmallDiskError, SmallDisk

from mmsoc_ray.data import open_storage
from mmsoc_ray.errors import StorageError, TrainingError
from mmsoc_ray.training import list_adapters, train_adapter, trainer

sys.path.append(str(Path(__file__).parents[1] / "training"))
from toy_job import toy_job

CHECKPOINT_BYTES = 100_000
"""About as large is a checkpoint of the toy job."""


@pytest.fixture
def disk():
    try:
        with SmallDisk(kilobytes=4096) as small:
            yield small
    except NoSmallDiskError as error:
        pytest.skip(str(error))


def test_a_full_temporary_folder_is_named_and_no_adapter_is_left(disk, toy, tmp_path, monkeypatch):
    disk.fill(leave=60_000)  # less than a checkpoint
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    root = open_storage(tmp_path / "root")
    with pytest.raises(
        StorageError, match=rf"^cannot write {disk.folder}/.*/step-2: no space left on device\. Make space"
    ):
        train_adapter(toy_job(toy.data, toy.checkpoint), root, note=lambda _: None, in_process=True)
    assert list_adapters(root) == []


@pytest.mark.faults
def test_a_full_storage_keeps_the_last_good_checkpoint_and_the_same_command_goes_on(
    disk, toy, ray_session, monkeypatch
):
    monkeypatch.setattr(trainer, "FAILURES", 0)
    job, root, notes = toy_job(toy.data, toy.checkpoint, epochs=4.0), open_storage(disk.folder / "root"), []
    disk.fill(leave=CHECKPOINT_BYTES * 3 // 2)
    with pytest.raises(TrainingError, match=r"[Nn]o space left on device.*goes on from the last one"):
        train_adapter(job, root, note=lambda _: None)
    assert list_adapters(root) == []
    disk.make_space()
    card = train_adapter(job, root, note=notes.append)
    assert any("goes on from step 2 of" in line for line in notes)
    assert list_adapters(root) == [card]
