"""Ending a run on purpose: Ctrl-C and ``ray job stop`` alike."""

from __future__ import annotations

import signal
import threading


def terminate_as_interrupt() -> None:
    """Make SIGTERM (``ray job stop``) raise ``KeyboardInterrupt`` as Ctrl-C does.

    Called again after Ray has started, since ``ray.init`` installs a handler of its own.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
