"""A disk that is full: the error names file, cause and remedy; nothing half is left, nothing durable is lost."""

import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_table import Cost, RunFiles
from small_disk import NoSmallDiskError, SmallDisk

from mmsoc_ray.data import open_storage
from mmsoc_ray.errors import StorageError
from mmsoc_ray.models.cache import cached_folder

pytestmark = pytest.mark.storage

MIB = 2**20


@pytest.fixture
def disk():
    try:
        with SmallDisk(kilobytes=1024) as small:
            yield small
    except NoSmallDiskError as error:
        pytest.skip(str(error))


def stream(storage, path, data):
    with storage.open_output(path) as handle:
        handle.write(data)


def stream_table(storage, path, data):
    with storage.open_output(path) as handle:
        pq.write_table(pa.table({"x": [data]}), handle, compression="none")


@pytest.mark.parametrize(
    "write",
    [lambda s, path, data: s.write(path, data), lambda s, path, data: s.write_once(path, data), stream, stream_table],
    ids=["write", "write_once", "open_output", "parquet"],
)
def test_a_write_to_a_full_disk_names_the_file_and_leaves_nothing_half(disk, write):
    storage = open_storage(disk.folder)
    storage.write("before", b"kept")
    with pytest.raises(StorageError, match=rf"^cannot write {disk.folder}/a/x: no space left on device\. Make space"):
        write(storage, "a/x", bytes(2 * MIB))
    assert [file.path for file in storage.stored_files("")] == ["before"]
    assert storage.read("before") == b"kept"
    write(storage, "a/x", b"small")
    assert storage.exists("a/x")


def test_a_full_temporary_folder_is_named_where_an_object_is_gathered_in_it(disk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    with pytest.raises(StorageError, match=rf"^cannot write s3://b/x: .* {disk.folder} is full.*or set TMPDIR"):
        stream(open_storage("s3://b"), "x", bytes(2 * MIB))
    assert list(disk.folder.iterdir()) == []


def test_a_full_cache_is_named_and_keeps_no_half_folder(disk):
    def make(folder):
        (folder / "weights").write_bytes(bytes(2 * MIB))

    with pytest.raises(StorageError, match=rf"^cannot write {disk.folder}/model: no space .* MMSOC_CACHE"):
        cached_folder(disk.folder / "model", make)
    assert [file.name for file in disk.folder.iterdir()] == ["model.lock"]


def test_the_run_of_a_full_disk_ends_with_file_cause_and_remedy_and_the_same_command_completes_it(
    disk, toy, toy_run, mmsoc, fault_table, tmp_path, capsys
):
    disk.fill(leave=72_000)  # for some units of the first model
    command = ("run", toy.grid(tmp_path / "toy.yaml"), "--output", disk.folder / "out", "--run-id", toy_run.run_id)
    assert mmsoc(*command) == 1
    said = capsys.readouterr().err
    assert f"error: cannot write {disk.folder}/out/runs/toy-1/" in said
    assert "no space left on device. Make space" in said
    assert "The same command takes the run up where it stands" in said
    assert "Traceback" not in said
    root = open_storage(disk.folder / "out")
    durable = {path: root.read(path) for path in root.list_files("")}
    assert any("/predictions/" in path for path in durable)
    assert set(durable) == {file.path for file in root.stored_files("")}
    hurt = RunFiles(root, toy_run.run_id)
    in_flight = len(hurt.in_flight())
    disk.make_space()
    assert mmsoc(*command) == 0
    fault_table.add("disk full", Cost.between(hurt, RunFiles(open_storage(toy_run.root), toy_run.run_id), in_flight))
    assert durable.items() <= {path: root.read(path) for path in root.list_files("")}.items()


@pytest.mark.parametrize("lost", ["runs/toy-1/cells", "results", "manifests"])  # in the order in which they are written
def test_what_the_driver_writes_last_meets_a_full_disk_in_the_same_way(disk, toy_run, mmsoc, capsys, lost):
    here, there = open_storage(disk.folder / "out"), open_storage(toy_run.root)
    for path in there.list_files(""):
        if not path.startswith((lost, "manifests")):
            here.write(path, there.read(path))
    disk.fill()
    command = ("run", toy_run.grid, "--output", disk.folder / "out", "--run-id", toy_run.run_id)
    assert mmsoc(*command) == 1
    assert f"error: cannot write {disk.folder}/out/{lost}" in capsys.readouterr().err
    disk.make_space()
    assert mmsoc(*command) == 0
    assert [path for path in there.list_files("") if here.read(path) != there.read(path)] == []


def test_a_plan_that_a_full_disk_does_not_take_is_refused_before_anything_is_spent(disk, toy, mmsoc, tmp_path, capsys):
    disk.fill()
    grid = toy.grid(tmp_path / "toy.yaml", models="  majority:")
    assert mmsoc("run", grid, "--output", disk.folder / "out", "--run-id", "toy-1") == 2
    said = capsys.readouterr().err
    assert f"cannot write {disk.folder}/out/runs/toy-1/plan.json: no space left on device. Make space" in said
