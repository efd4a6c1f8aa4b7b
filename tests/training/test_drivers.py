"""Who trains an adapter, and who waits: without a training. The races of their signs run in threads."""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmsoc_ray.data import LocalStorage
from mmsoc_ray.errors import StorageError
from mmsoc_ray.training import drivers
from mmsoc_ray.training.drivers import SILENT_S, Driver, checkpoint_name, checkpoints

NAME = "toy-0123456789ab"
FOLDER = f"training/{NAME}"


@pytest.fixture
def root(tmp_path):
    return LocalStorage(tmp_path / "root")


@pytest.fixture
def store(monkeypatch):
    """Store the adapter: a card is there from then on."""
    there = threading.Event()
    monkeypatch.setattr(drivers, "read_card", lambda root, name: "card" if there.is_set() else None)
    return there.set


@pytest.fixture(autouse=True)
def _quick(store, monkeypatch):
    monkeypatch.setattr(drivers, "BEAT_S", 0.01)


def silence(root, driver, seconds=SILENT_S + 1):
    """Make a driver's sign old."""
    moment = time.time() - seconds
    os.utime(root.root / FOLDER / driver / "alive", (moment, moment))


def put(root, driver, step):
    root.write(f"{FOLDER}/{driver}/{checkpoint_name(step)}/state.pt", b"state")


def test_a_driver_that_is_alone_trains_at_once_and_leaves_no_sign(root):
    with Driver(root, NAME) as driver:
        assert driver.wait(pytest.fail)
        assert root.list_files("training") == [f"{FOLDER}/{driver.id}/alive"]
    assert list(root.root.iterdir()) == []


def test_a_second_driver_waits_says_so_and_learns_that_the_adapter_is_stored(root, store):
    notes = []

    def note(line):
        notes.append(line)
        store()

    with Driver(root, NAME) as first, Driver(root, NAME) as second:
        assert first.wait(pytest.fail)
        assert not second.wait(note)
        assert root.list_files("training") == [f"{FOLDER}/{first.id}/alive"]
    (line,) = notes
    assert f"another process trains it ({root.uri}/{FOLDER}/{first.id}/alive says which); waits for it" in line


def test_a_driver_that_ends_without_an_adapter_is_not_waited_for(root):
    ended = contextlib.ExitStack()
    first = ended.enter_context(Driver(root, NAME))
    assert first.wait(pytest.fail)
    with Driver(root, NAME) as second:
        assert second.wait(lambda _: ended.close())


def test_a_driver_that_is_silent_for_too_long_is_followed(root):
    root.write(f"{FOLDER}/killed/alive", b"")
    silence(root, "killed", SILENT_S - 30)
    notes = []

    def note(line):
        notes.append(line)
        silence(root, "killed")

    with Driver(root, NAME) as second:
        assert second.wait(note)
    assert len(notes) == 1


def test_the_sign_of_a_driver_that_trains_stays_young(root):
    with Driver(root, NAME) as first, Driver(root, NAME) as second:
        assert first.wait(pytest.fail)
        silence(root, first.id)
        while time.time() - (root.root / FOLDER / first.id / "alive").stat().st_mtime > 1:
            time.sleep(0.01)
        assert first.id in second._living(root.stored_files(FOLDER))


def test_of_many_that_come_at_once_one_trains_at_a_time(root):
    training, most = [], []

    def drive(number):
        with Driver(root, NAME) as driver:
            assert driver.wait(lambda _: None)
            training.append(number)
            most.append(len(training))
            time.sleep(0.02)
            training.remove(number)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(drive, range(6)))
    assert most == [1] * 6


def test_storage_that_fails_for_a_while_ends_no_training(root, monkeypatch):
    with Driver(root, NAME) as driver:
        assert driver.wait(pytest.fail)
        tried = threading.Event()

        def fail(self, path, data):
            tried.set()
            raise StorageError("gone")

        with monkeypatch.context() as failing:
            failing.setattr(LocalStorage, "write", fail)
            assert tried.wait(60)
        sign = root.root / FOLDER / driver.id / "alive"
        sign.unlink()
        while not sign.exists():
            time.sleep(0.01)


def test_a_driver_tidies_its_own_folder_and_those_of_the_dead_and_spares_the_living(root, store):
    root.write(f"{FOLDER}/dead/alive", b"")
    root.write(f"{FOLDER}/lives/alive", b"")
    silence(root, "dead")
    with Driver(root, NAME) as driver:
        silence(root, "lives")
        assert driver.wait(pytest.fail)
        root.write(f"{FOLDER}/lives/alive", b"")
        for folder in (driver.id, "dead", "lives", "ended"):
            put(root, folder, 2)
        root.write(f"{FOLDER}/checkpoint_2026-11-22_10-00-00/state.pt", b"")  # before each driver had a folder
        root.write(f"{FOLDER}/comes/.tmp-12-ab", b"")  # its sign, about to get its name
        store()
        driver.tidy()
    assert set(root.list_folders(FOLDER)) == {"comes", "lives"}
    assert len(root.list_files(f"{FOLDER}/lives")) == 2


def test_checkpoints_of_all_drivers_are_tried_from_the_highest_step_down(root):
    for driver, step in (("a", 100), ("b", 20), ("a", 9), ("c", 1_000_000_000)):
        put(root, driver, step)
    root.write(f"{FOLDER}/b/checkpoint_manager_snapshot.json", b"")
    found = [folder.removeprefix(f"{FOLDER}/")[: -len("-01234567")] for folder in checkpoints(root, NAME)]
    assert found == ["c/step-1000000000", "a/step-00000100", "b/step-00000020", "a/step-00000009"]
