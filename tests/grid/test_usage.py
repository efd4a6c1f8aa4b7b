import subprocess
import sys
import threading

import pytest

from mmsoc_ray.grid.usage import EngineClock

MB = 10**6


@pytest.fixture
def clock(seconds):
    """The clock of an engine that took 2 s to import and 3 s to load."""
    clock = EngineClock(seconds)
    seconds.now += 2
    clock.imported()
    seconds.now += 3
    clock.loaded()
    return clock


def test_loading_is_told_once_and_waiting_begins_after_it(clock, seconds):
    seconds.now += 1
    with clock.answering():
        seconds.now += 4
    use = clock.take()
    assert (use.imports_s, use.weights_s, use.wait_s, use.busy_s) == (2, 3, 1, 4)
    use = clock.take()
    assert (use.imports_s, use.weights_s, use.wait_s, use.busy_s) == (None, None, 0, 0)


def test_an_engine_that_waits_for_its_next_unit_is_not_busy(clock, seconds):
    with clock.answering():
        seconds.now += 1
    clock.take()
    seconds.now += 7
    with clock.answering():
        seconds.now += 2
    use = clock.take()
    assert (use.wait_s, use.busy_s) == (7, 2)


def test_units_that_overlap_are_busy_once(clock, seconds):
    first, second = clock.answering(), clock.answering()
    first.__enter__()
    seconds.now += 2
    second.__enter__()
    seconds.now += 3
    first.__exit__(None, None, None)
    told = clock.take()
    seconds.now += 4
    second.__exit__(None, None, None)
    seconds.now += 1
    rest = clock.take()
    assert (told.busy_s, told.wait_s) == (5, 0)
    assert (rest.busy_s, rest.wait_s) == (4, 1)


def test_a_unit_that_raises_ends_being_busy(clock, seconds):
    def fail() -> None:
        with clock.answering():
            seconds.now += 2
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    seconds.now += 3
    use = clock.take()
    assert (use.busy_s, use.wait_s) == (2, 3)


def test_threads_lose_no_second_between_them():
    clock = EngineClock()
    clock.loaded()
    told = []

    def answer() -> None:
        for _ in range(200):
            with clock.answering():
                pass
            told.append(clock.take())

    threads = [threading.Thread(target=answer) for _ in range(8)]
    started = clock._since
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.append(clock.take())
    assert sum(use.busy_s + use.wait_s for use in told) == pytest.approx(clock._since - started)


def test_an_engine_tells_of_the_gpu_that_another_process_uses(clock):
    engine = type("Engine", (), {"gpu": "H100", "gpu_peak_bytes": 7 * MB})()
    use = clock.take(engine)
    assert (use.gpu, use.gpu_peak_bytes) == ("H100", 7 * MB)


def test_without_a_gpu_its_memory_is_not_known(clock):
    assert (clock.take().gpu, clock.take().gpu_peak_bytes) == (None, None)


def test_peak_memory_stays_after_memory_was_given_back_and_counts_children_where_asked():
    code = (
        "import subprocess, sys\n"
        "from mmsoc_ray.grid.usage import peak_memory\n"
        "held = bytearray(200_000_000)\n"
        "del held\n"
        "hold = 'held = bytearray(300_000_000); print(1, flush=True); input()'\n"
        "child = subprocess.Popen([sys.executable, '-c', hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(peak_memory(), peak_memory(children=True))\n"
        "child.communicate(b'\\n')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    alone, together = map(int, ended.stdout.split())
    assert 200 * MB < alone < 500 * MB
    assert together - alone > 300 * MB
