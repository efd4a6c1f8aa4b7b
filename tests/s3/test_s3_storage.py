import threading
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data import open_storage, s3
from mmsoc_ray.errors import ConfigurationError, StorageError

PAGE = 1000


@pytest.fixture
def storage(s3):
    return open_storage(f"s3://posts/{uuid.uuid4().hex}")


def test_an_object_is_read_as_it_was_written(storage):
    storage.write("a/ü b.txt", b"content")
    assert storage.exists("a/ü b.txt")
    assert storage.read("a/ü b.txt") == b"content"
    storage.write("a/ü b.txt", b"other")
    assert storage.read("a/ü b.txt") == b"other"


def test_an_absent_object_is_named_with_its_bucket(storage):
    assert not storage.exists("none")
    for look in (storage.read, storage.open_input):
        with pytest.raises(FileNotFoundError) as failed:
            look("none")
        assert failed.value.filename == f"{storage.uri}/none"


def test_parts_of_an_object_are_read(storage):
    storage.write("range", bytes(range(256)) * 1000)
    with storage.open_input("range") as handle:
        handle.seek(256 * 999 + 10)
        assert handle.read(3) == bytes([10, 11, 12])


def test_a_large_parquet_file_is_streamed_up_and_read_by_row_group(storage):
    table = pa.table({"x": pa.array(range(3_000_000), pa.int64())})
    with storage.open_output("large.parquet") as handle:
        pq.write_table(table, handle, row_group_size=1_000_000, compression="none", use_dictionary=False)
    with storage.open_input("large.parquet") as handle:
        assert pq.ParquetFile(handle).read_row_group(2).column("x")[0].as_py() == 2_000_000


def test_the_marker_of_a_folder_is_no_file_and_can_be_removed(storage):
    storage.write("/", b"")  # as Amazon's console makes the root itself
    storage.write("room/", b"")
    storage.write("room/file", b"content")
    assert storage.list_files("") == storage.list_files("room") == ["room/file"]
    for file in list(storage.stored_files("")):
        storage.delete(file.path)
    assert list(storage.stored_files("")) == []


def test_an_upload_that_fails_leaves_nothing(storage):
    def write_half() -> None:
        with storage.open_output("cut") as handle:
            handle.write(bytes(12 * 2**20))
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        write_half()
    assert storage.list_files("") == []


def test_listings_go_on_after_a_page(storage):
    names = [f"many/{number:04}" for number in range(PAGE + 5)]
    for name in names:
        storage.write(name, b"")
    storage.write("many-others/x", b"")
    assert storage.list_files("many") == names
    assert storage.list_files("none") == []


def test_folders_are_listed_after_a_page_without_what_they_hold(storage):
    for number in range(PAGE + 5):
        storage.write(f"many/{number:04}/x", b"")
    storage.write("many/file", b"")
    assert storage.list_folders("many") == [f"{number:04}" for number in range(PAGE + 5)]
    assert storage.list_folders("none") == []


def test_of_many_writers_at_once_exactly_one_wins_on_s3(storage):
    barrier = threading.Barrier(8)
    won = []

    def write(number: int) -> None:
        barrier.wait()
        if storage.write_once("unit", bytes([number]) * 100_000):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read("unit") == bytes(won) * 100_000
    assert not storage.write_once("unit", b"later")


def stream(storage):
    with storage.open_output("x") as handle:
        handle.write(b"x")


@pytest.mark.parametrize(
    "act",
    [
        lambda storage: storage.write("x", b""),
        lambda storage: storage.write_once("x", b""),
        lambda storage: storage.list_files(""),
        lambda storage: stream(storage),
    ],
    ids=["write", "write_once", "list", "stream"],
)
def test_a_missing_bucket_is_named(s3, act):
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/p"):
        act(open_storage("s3://no-such-bucket/p"))


def test_a_right_that_is_missing_is_named_with_object_and_remedy(storage, as_reader):
    with pytest.raises(StorageError, match=rf"cannot write {storage.uri}/x: AccessDenied.*Give the node's role"):
        storage.write("x", b"")


def test_a_wrong_secret_is_refused_without_showing_it(storage, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    s3._client.cache_clear()
    with pytest.raises(StorageError, match="SignatureDoesNotMatch") as refused:
        storage.read("x")
    assert "not-the-secret" not in str(refused.value)


def test_without_credentials_the_error_says_where_they_come_from(storage, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    s3._client.cache_clear()
    with pytest.raises(StorageError, match=r"NoCredentialsError.*Set AWS_ACCESS_KEY_ID"):
        storage.read("x")


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "ftp://host", "http://", "http://host/path"])
def test_an_endpoint_that_is_no_address_is_refused(url):
    with pytest.raises(ConfigurationError, match="Write http://HOST:PORT"):
        s3.use_endpoint(url)


def test_an_endpoint_with_credentials_is_refused_without_repeating_them():
    with pytest.raises(ConfigurationError, match="Leave them out") as refused:
        s3.use_endpoint("http://key:hidden@host")
    assert "hidden" not in str(refused.value)
