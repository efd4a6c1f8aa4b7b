"""How long a server that fails is waited for: one policy for every request.

What passes (overload, a broken connection, a server that is away) is tried again with exponential backoff until
``PATIENCE_S`` are over; what does not pass is raised at once. A command's first contact gets ``FIRST_CONTACT_S``, so
that a wrong address is reported within seconds. Processes that a command starts are patient from the beginning: they
may begin in the middle of an outage.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 180.0
FIRST_CONTACT_S = 5.0
PAUSE_S = 0.1
"""Bound of the first pause; each is drawn between half its bound and the bound, which doubles."""

LONGEST_PAUSE_S = 10.0

_Answer = TypeVar("_Answer")
_jitter = random.SystemRandom()
_awaits_contact = False


class OutOfPatienceError(Exception):
    """A request failed in a way that passes, for too long; says how often and how long.

    Attributes:
        last: The last failure.
    """

    def __init__(self, tries: int, seconds: float, last: Exception) -> None:
        super().__init__(f"{tries} tries in {seconds:.0f} s")
        self.last = last


def expect_first_contact() -> None:
    """Be impatient in this process until a server has answered: called where a command begins."""
    global _awaits_contact
    _awaits_contact = True


def patiently(request: Callable[[], _Answer], passes: Callable[[Exception], bool]) -> _Answer:
    """Make a request, and make it again while it fails in a way that passes.

    Args:
        request: Makes the request once.
        passes: Whether a failure may be gone at the next try.

    Raises:
        OutOfPatienceError: Where it failed for too long; other failures are raised as they come.
    """
    began = time.monotonic()
    for tries in itertools.count(1):
        try:
            answer = request()
        except Exception as error:
            if not passes(error):
                _met()
                raise
            pause = _jitter.uniform(0.5, 1) * min(LONGEST_PAUSE_S, PAUSE_S * 2 ** (tries - 1))
            seconds = time.monotonic() - began
            if seconds + pause > (FIRST_CONTACT_S if _awaits_contact else PATIENCE_S):
                raise OutOfPatienceError(tries, seconds, error) from error
            time.sleep(pause)
        else:
            _met()
            return answer
    raise AssertionError("unreachable")


def _met() -> None:
    global _awaits_contact
    _awaits_contact = False
