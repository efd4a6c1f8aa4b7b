"""What the tests of a run's time share."""

import pytest


class Seconds:
    """A clock that a test moves; it does not start at 0."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds():
    return Seconds()
