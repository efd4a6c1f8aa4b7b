"""Watching the head of the cluster: a job whose head is gone ends with a message, and in bounded time."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import ray

RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""After so many seconds without its head Ray ends a process by itself, without a word (60 s unless it is set)."""
LOST_AFTER = 0.75
"""Share of that time after which a head that takes no connection counts as lost: a head that is restarted with its
state (Ray's fault tolerance with Redis) is waited for."""
LOOK_EVERY_S = 2.0


@contextlib.contextmanager
def watched_head(lost: Callable[[str], None]) -> Iterator[None]:
    """Watch the head while the block runs; end the process with status 1 where it is lost.

    Nothing can be tidied up without a head: every call to Ray waits for it.

    Args:
        lost: Told why, before the process ends.
    """
    ended = threading.Event()
    threading.Thread(target=_watch, args=(ended, lost), name="watch-head", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(ended: threading.Event, lost: Callable[[str], None]) -> None:
    address = ray.get_runtime_context().gcs_address
    patience = LOST_AFTER * float(os.environ.get(RECONNECT) or 60)
    seen = time.monotonic()
    while not ended.wait(LOOK_EVERY_S):
        if _answers(address):
            seen = time.monotonic()
        elif time.monotonic() - seen >= patience and not ended.is_set():
            lost(
                f"The head of the cluster at {address} is gone: no connection for {patience:g} s. "
                f"What is durable stays: the same command takes the run up where it stands, on a new head."
            )
            os._exit(1)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_EVERY_S).close()
    except OSError:
        return False
    return True
