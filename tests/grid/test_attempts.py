import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.grid.attempts import Attempts


@pytest.fixture
def at(tmp_path):
    """Attempts as an engine at a place sees them."""
    return lambda place: Attempts(open_storage(tmp_path), "runs/r/attempts", place)


def test_loads_are_lost_until_one_ends_well(at):
    attempts = at("job.node")
    for lost in range(3):
        assert attempts.loads_lost() == lost
        attempts.begin_loading()
    attempts.end_loading()
    assert attempts.loads_lost() == 0
    attempts.begin_loading()
    assert attempts.loads_lost() == 1


def test_loads_of_another_place_do_not_count(at):
    at("one.node").begin_loading()
    assert at("two.node").loads_lost() == 0


def test_a_try_of_a_post_is_none_of_its_unit(at):
    attempts = at("job.node")
    attempts.begin("u", 3)
    assert (attempts.tries("u"), attempts.tries("u", 3), attempts.tries("u", 33)) == (0, 1, 0)


def test_a_unit_does_not_count_tries_of_another_whose_name_it_begins(at):
    attempts = at("job.node")
    attempts.begin("u-10")
    assert attempts.tries("u-1") == 0
