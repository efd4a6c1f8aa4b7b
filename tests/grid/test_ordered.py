import time

import pytest
import ray

from mmsoc_ray.grid.ordered import ITEMS_HERE, SPARE_TASKS, map_in_order


@pytest.fixture
def late_for_even():
    """A function that travels to workers by value, as they do not import tests; even numbers take longer."""

    def times_ten(number: int) -> int:
        time.sleep(0.05 * (number % 2 == 0))
        return number * 10

    return times_ten


def test_results_come_in_the_order_of_the_stream(ray_session, late_for_even):
    assert list(map_in_order(late_for_even, range(20))) == [number * 10 for number in range(20)]


def test_the_stream_is_read_no_further_ahead_than_tasks_run(ray_session, late_for_even):
    read = []
    results = map_in_order(late_for_even, (read.append(number) or number for number in range(100)))
    next(results)
    assert len(read) <= max(ITEMS_HERE, int(ray.cluster_resources()["CPU"]) + SPARE_TASKS)


def test_a_short_stream_starts_no_ray(monkeypatch, late_for_even):
    monkeypatch.setattr("mmsoc_ray.grid.ordered.start_ray", lambda address: pytest.fail("Ray was started"))
    assert list(map_in_order(late_for_even, range(ITEMS_HERE - 1))) == [number * 10 for number in range(ITEMS_HERE - 1)]


def test_an_error_of_a_task_keeps_its_kind_and_its_own_words(ray_session):
    def fail_at_nine(number: int) -> int:
        if number == 9:
            raise OSError(5, "the store does not answer")
        return number

    with pytest.raises(OSError, match="the store does not answer") as raised:
        list(map_in_order(fail_at_nine, range(20)))
    assert str(raised.value.cause) == "[Errno 5] the store does not answer"
