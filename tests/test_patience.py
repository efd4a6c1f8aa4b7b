import pytest

from mmsoc_ray import patience
from mmsoc_ray.patience import OutOfPatienceError, expect_first_contact, patiently


class Clock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    monkeypatch.setattr(patience, "_awaits_contact", False)
    return clock


def failing(times: int, error: Exception):
    """A request that fails so often."""
    left = [error] * times

    def request() -> str:
        if left:
            raise left.pop()
        return "answer"

    return request


def always(error: Exception) -> bool:
    return True


def test_what_passes_is_tried_again_with_longer_pauses(clock):
    assert patiently(failing(9, OSError()), always) == "answer"
    bounds = [min(patience.LONGEST_PAUSE_S, patience.PAUSE_S * 2**number) for number in range(9)]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(clock.pauses, bounds, strict=True))


def test_what_does_not_pass_is_raised_at_once(clock):
    with pytest.raises(KeyError):
        patiently(failing(1, KeyError()), lambda error: not isinstance(error, KeyError))
    assert clock.pauses == []


def test_patience_ends_and_names_the_last_failure_and_how_long_it_lasted(clock):
    last = OSError("gone")
    with pytest.raises(OutOfPatienceError, match=r"^\d+ tries in 1[678]\d s$") as ended:
        patiently(failing(1000, last), always)
    assert ended.value.last is last
    assert patience.PATIENCE_S - patience.LONGEST_PAUSE_S <= clock.now <= patience.PATIENCE_S


def test_the_first_contact_is_short_and_later_ones_are_not(clock):
    expect_first_contact()
    with pytest.raises(OutOfPatienceError):
        patiently(failing(1000, OSError()), always)
    assert clock.now <= patience.FIRST_CONTACT_S
    assert patiently(failing(1, OSError()), always) == "answer"
    assert patiently(failing(15, OSError()), always) == "answer"
    assert clock.now > 2 * patience.FIRST_CONTACT_S


def test_a_refusal_is_a_contact_too(clock):
    expect_first_contact()
    with pytest.raises(KeyError):
        patiently(failing(1, KeyError()), lambda error: not isinstance(error, KeyError))
    assert patiently(failing(15, OSError()), always) == "answer"
