"""Ending a run on purpose: Ctrl-C and ``ray job stop`` alike."""

from __future__ import annotations

import signal
import threading

INTERRUPTED = 130
"""Exit status of a run that was interrupted, as shells give it for Ctrl-C."""


def terminate_as_interrupt() -> None:
    """Make SIGTERM (``ray job stop``) raise ``KeyboardInterrupt`` as Ctrl-C does.

    Called again after Ray has started, since ``ray.init`` installs a handler of its own.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def terminated_by_ray(stop: SystemExit) -> bool:
    """Whether Ray's own handler of SIGTERM, in force while ``ray.init`` works, ended the process (Ray 2.60).

    It exits with the signal's number before a cluster is joined, and with 1 once a node was started here.
    """
    return stop.code in (signal.SIGTERM, 1)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
