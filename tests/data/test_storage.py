import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmsoc_ray.data import LocalStorage, S3Storage, open_storage
from mmsoc_ray.errors import ConfigurationError


def test_addresses_choose_the_storage(tmp_path):
    assert open_storage(tmp_path) == LocalStorage(tmp_path)
    assert open_storage(f"file://{tmp_path}") == LocalStorage(tmp_path)
    assert open_storage("s3://bucket/a/b/") == S3Storage("bucket", "a/b")
    assert open_storage("s3://bucket").uri == "s3://bucket"


@pytest.mark.parametrize("address", ["gs://bucket/x", "http://host/x"])
def test_other_schemes_are_refused_with_the_allowed_ones(address):
    with pytest.raises(ConfigurationError, match="Allowed: a local path, s3://"):
        open_storage(address)


def test_the_first_writer_wins(tmp_path):
    storage = open_storage(tmp_path)
    assert storage.write_once("a/b.txt", b"first")
    assert not storage.write_once("a/b.txt", b"second")
    assert storage.read("a/b.txt") == b"first"


def test_of_many_writers_at_once_exactly_one_wins(tmp_path):
    storage = open_storage(tmp_path)
    barrier = threading.Barrier(8)
    won = []

    def write(number: int) -> None:
        barrier.wait()
        if storage.write_once("unit", bytes([number]) * 1000):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read("unit") == bytes(won) * 1000


def test_unfinished_files_are_neither_listed_nor_left_behind(tmp_path):
    storage = open_storage(tmp_path)

    def write_half() -> None:
        with storage.open_output("x/cut.bin") as handle:
            handle.write(b"half")
            assert storage.list_files("x") == []
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        write_half()
    assert list((tmp_path / "x").iterdir()) == []


def test_files_are_written_and_listed_while_others_remove_the_folder_that_they_leave_empty(tmp_path):
    storage = open_storage(tmp_path)

    def come_and_go(number: int) -> int:
        for turn in range(200):
            storage.write(path := f"room/{number}/{turn}/file", b"x")
            assert path in storage.list_files("room")
            assert path in {file.path for file in storage.stored_files("room")}
            storage.delete(path)
        return number

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(come_and_go, range(4))) == list(range(4))
    assert list(tmp_path.iterdir()) == []


def test_listing_is_sorted_and_recursive(tmp_path):
    storage = open_storage(tmp_path)
    for path in ("r/b", "r/a/c", "other"):
        storage.write(path, b"")
    assert storage.list_files("r") == ["r/a/c", "r/b"]
    assert storage.list_files("absent") == []


def test_folders_are_listed_without_what_they_hold(tmp_path):
    storage = open_storage(tmp_path)
    for path in ("r/b/x", "r/a/c/y", "r/file", "other/z"):
        storage.write(path, b"")
    assert storage.list_folders("r") == ["a", "b"]
    assert storage.list_folders("absent") == []


def test_write_replaces_and_ranges_are_read(tmp_path):
    storage = open_storage(tmp_path)
    storage.write("f", b"old")
    storage.write("f", b"0123456789")
    with storage.open_input("f") as handle:
        handle.seek(4)
        assert handle.read(3) == b"456"


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path):
    storage = open_storage(tmp_path)
    storage.write("f", b"")
    with pytest.raises(OSError, match="f"):
        storage.write_once("f/g", b"")
