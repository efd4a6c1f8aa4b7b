"""Each fault of the network or the server, at each operation of the storage: nothing is lost, nothing is short."""

import threading
import time
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_proxy import Fault, FaultProxy, First, Request, SeededMix, untouched
from seaweed import set_environment

from mmsoc_ray import patience
from mmsoc_ray.data import open_storage, s3
from mmsoc_ray.errors import StorageError
from mmsoc_ray.grid.audit import audit_unit
from mmsoc_ray.grid.seal import count_unit

CONTENT = bytes(range(256)) * 2000
ANSWERS = (Fault.slow_down, Fault.internal_error, Fault.delay, Fault.lost_answer)
READING = (*ANSWERS, Fault.trickle, Fault.cut_response)
WRITING = (*ANSWERS, Fault.cut_request)


@pytest.fixture(scope="module")
def running_proxy(server):
    """One proxy, and so one client, for all tests."""
    with FaultProxy(server.endpoint, delay_s=0.1) as running:
        yield running


@pytest.fixture
def proxy(running_proxy, server, monkeypatch):
    """The proxy before the server, used by this process; lets all requests pass."""
    monkeypatch.setattr(patience, "_awaits_contact", False)  # as after the first contact of a command
    running_proxy.schedule = untouched
    running_proxy.injected.clear()
    running_proxy.requests.clear()
    set_environment(monkeypatch, running_proxy.endpoint, server.environment)
    return running_proxy


@pytest.fixture
def storage(proxy):
    return open_storage(f"s3://posts/{uuid.uuid4().hex}")


@pytest.fixture
def impatient(monkeypatch):
    """Give up after half a second."""
    monkeypatch.setattr(patience, "PATIENCE_S", 0.5)


def always(fault):
    """Do it to every request."""
    return lambda request: fault


def twice(proxy, fault, method):
    """Do something to the next two requests of a method; return what tells whether it happened."""
    proxy.schedule = First([fault, fault], method)
    return lambda: proxy.injected[fault] == 2


@pytest.mark.parametrize("fault", READING)
def test_an_object_is_read_whole_whatever_happens(proxy, storage, fault):
    storage.write("x", CONTENT)
    happened = twice(proxy, fault, "GET")
    assert storage.read("x") == CONTENT
    if fault in (Fault.delay, Fault.trickle):
        assert storage.read("x") == CONTENT
    assert happened()


@pytest.mark.parametrize("fault", READING)
def test_row_groups_are_read_whole_whatever_happens(proxy, storage, fault):
    table = pa.table({"x": pa.array(range(400_000), pa.int64())})
    with storage.open_output("t.parquet") as handle:
        pq.write_table(table, handle, row_group_size=100_000, compression="none", use_dictionary=False)
    happened = twice(proxy, fault, "GET")
    with storage.open_input("t.parquet") as handle:
        file = pq.ParquetFile(handle)
        assert [file.read_row_group(n).column("x")[-1].as_py() for n in range(4)] == [99_999, 199_999, 299_999, 399_999]
    assert happened()


@pytest.mark.parametrize("fault", READING)
def test_a_download_is_whole_whatever_happens(proxy, storage, monkeypatch, tmp_path, fault):
    monkeypatch.setattr(s3, "PIECE_BYTES", 50_000)
    storage.write("x", CONTENT)
    happened = twice(proxy, fault, "GET")
    storage.download("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert happened()


def test_a_download_that_fails_ends_with_its_piece(proxy, storage, impatient, monkeypatch, tmp_path):
    monkeypatch.setattr(s3, "PIECE_BYTES", 5_000)
    storage.write("x", CONTENT)
    proxy.schedule = always(Fault.cut_response)
    with pytest.raises(StorageError, match=f"cannot read {storage.uri}/x"):
        storage.download("x", tmp_path / "x")
    assert proxy.requests["GET"] < 100


@pytest.mark.parametrize("fault", WRITING)
@pytest.mark.parametrize("way", ["write", "write_once", "open_output"])
def test_an_object_is_written_whole_whatever_happens(proxy, storage, fault, way):
    happened = twice(proxy, fault, "PUT")
    for name in ("x", "y"):
        if way == "open_output":
            with storage.open_output(name) as handle:
                handle.write(CONTENT)
        else:
            assert getattr(storage, way)(name, CONTENT) is not False
        assert storage.read(name) == CONTENT
    assert happened()


def test_a_writer_whose_answer_was_lost_knows_its_own_object(proxy, storage):
    proxy.schedule = First([Fault.lost_answer], "PUT")
    assert storage.write_once("x", CONTENT)
    assert not storage.write_once("x", CONTENT)
    proxy.schedule = First([Fault.slow_down, Fault.lost_answer], "PUT")
    assert not storage.write_once("x", b"of another writer")
    assert storage.read("x") == CONTENT


def test_of_many_writers_through_faults_exactly_one_is_told_that_it_wrote(proxy, storage):
    proxy.schedule = SeededMix(seed=1, rate=0.4)
    won = []

    def write(number: int) -> None:
        if storage.write_once("unit", bytes([number]) * 10_000):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read("unit") == bytes(won) * 10_000


@pytest.mark.parametrize("fault", READING)
def test_listings_are_whole_whatever_happens(proxy, storage, fault):
    names = [f"many/{number:02}" for number in range(30)]
    for name in names:
        storage.write(name, b"")
    happened = twice(proxy, fault, "GET")
    assert storage.list_files("many") == names
    assert storage.list_files("many") == names
    assert happened()


@pytest.mark.parametrize("fault", ANSWERS)
def test_whether_an_object_is_there_is_told_whatever_happens(proxy, storage, fault):
    storage.write("x", b"")
    happened = twice(proxy, fault, "HEAD")
    assert storage.exists("x")
    assert not storage.exists("y")
    assert happened()


def test_an_answer_that_does_not_come_is_asked_for_again(proxy, storage, monkeypatch):
    monkeypatch.setattr(s3, "READ_TIMEOUT_S", 0.5)
    monkeypatch.setattr(proxy, "delay_s", 2)
    s3._client.cache_clear()
    proxy.schedule = First([Fault.delay], "PUT")
    assert storage.write_once("x", CONTENT)
    proxy.schedule = First([Fault.delay], "GET")
    assert storage.read("x") == CONTENT
    assert min(proxy.requests["PUT"], proxy.requests["GET"]) >= 2
    s3._client.cache_clear()


def test_a_server_that_is_away_for_a_while_is_waited_for(proxy, storage):
    storage.write("x", CONTENT)
    with storage.open_input("x") as handle:
        proxy.vanish(2)
        assert handle.read() == CONTENT
        proxy.vanish(2)
        storage.write("y", CONTENT)
    assert storage.list_files("") == ["x", "y"]


@pytest.mark.faults
def test_a_server_that_is_away_for_a_minute_is_waited_for(proxy, storage):
    storage.write("x", CONTENT)
    proxy.vanish(60)
    began = time.monotonic()
    assert storage.read("x") == CONTENT
    assert time.monotonic() - began < 60 + 2 * patience.LONGEST_PAUSE_S
    proxy.vanish(60)
    assert storage.write_once("y", CONTENT)
    assert storage.list_files("") == ["x", "y"]


@pytest.mark.parametrize("fault", [Fault.slow_down, Fault.internal_error, Fault.cut_response])
def test_a_read_that_never_succeeds_names_object_cause_and_how_long_it_was_tried(proxy, storage, impatient, fault):
    storage.write("x", CONTENT)
    proxy.schedule = always(fault)
    with pytest.raises(
        StorageError, match=rf"^cannot read {storage.uri}/x: \w+.* \(\d+ tries in \d s\)\. \w+"
    ) as failed:
        storage.read("x")
    assert failed.value.__cause__ is not None


def test_a_ranged_read_that_never_succeeds_is_no_end_of_file(proxy, storage, impatient):
    storage.write("x", CONTENT)
    with storage.open_input("x") as handle:
        proxy.schedule = always(Fault.cut_response)
        with pytest.raises(StorageError, match="cannot read"):
            handle.read()


@pytest.mark.parametrize(
    "look",
    [
        lambda storage: count_unit(storage, "x", "unit", 1),
        lambda storage: audit_unit(storage, "x", "run", None, None),
    ],
    ids=["count", "audit"],
)
def test_a_store_that_does_not_answer_is_never_taken_for_a_damaged_file(proxy, storage, impatient, look):
    proxy.schedule = always(Fault.slow_down)
    with pytest.raises(StorageError, match=rf"^cannot read {storage.uri}/x: SlowDown"):
        look(storage)


def test_an_object_that_is_replaced_while_it_is_read_is_no_mixture(proxy, storage):
    storage.write("x", CONTENT)
    with storage.open_input("x") as handle:
        storage.write("x", CONTENT[::-1])
        with pytest.raises(StorageError, match="It was replaced while it was read"):
            handle.read()


def test_no_message_holds_credentials(server, proxy, storage, impatient, monkeypatch):
    hidden = proxy.endpoint.replace("//", "//name:hidden-word@")
    set_environment(monkeypatch, hidden, server.environment)
    proxy.schedule = always(Fault.lost_answer)
    with pytest.raises(StorageError) as failed:
        storage.read("x")
    said = str(failed.value)
    assert "hidden-word" not in said
    assert server.environment["AWS_SECRET_ACCESS_KEY"] not in said


def test_a_command_reports_an_address_where_nothing_answers_within_its_first_contact(
    server, monkeypatch, mmsoc, capsys
):
    with FaultProxy(server.endpoint) as closed:
        pass
    set_environment(monkeypatch, closed.endpoint, server.environment)
    monkeypatch.setattr(patience, "FIRST_CONTACT_S", 0.5)
    assert mmsoc("datasets", "--data", "s3://posts/toy") == 2
    said = capsys.readouterr().err
    assert "cannot list s3://posts/toy" in said
    assert "--s3-endpoint" in said


def test_the_mix_draws_the_same_whatever_runs_beside_it():
    requests = [Request("GET", f"/posts/{number}", 0) for number in range(50)]
    forwards, backwards = SeededMix(seed=3, rate=0.5), SeededMix(seed=3, rate=0.5)
    drawn = {request: forwards(request) for request in requests}
    assert drawn == {request: backwards(request) for request in reversed(requests)}
    assert len(set(drawn.values())) > 3
