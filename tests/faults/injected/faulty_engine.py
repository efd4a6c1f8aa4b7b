"""An engine for tests of faults: batch-invariant, quick to load, and as bad as a post or a folder tells it to be.

A post whose text holds ``FAULT:<kind>`` has that effect whenever the engine is asked about it; ``FAULT:<kind>:<n>``
has it the first ``n`` times. Files in the folder that ``FAULTS`` names act on every engine: ``load`` holds a kind that
takes effect while it loads, ``fault-<sample_id>`` what that post's text may hold, ``delay_s`` the seconds that each
post takes, and with ``calm`` posts have no effect. The folder takes a line for each post that was asked (``asked``) and
each engine that began to load (``loaded``).
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import signal
import time
from collections import deque
from pathlib import Path

MODEL = "faulty"
FAULTS = "MMSOC_TEST_FAULTS"
FAULT = re.compile(r"FAULT:([a-z_]+)(?::(\d+))?")


def spin():
    """Spin outside Python for good, with the interpreter's lock held: no handler of a signal runs."""
    deque(itertools.repeat(0), maxlen=0)


def stop():
    """Stop as by SIGSTOP: the process answers nobody."""
    os.kill(os.getpid(), signal.SIGSTOP)


def fail():
    """Raise."""
    raise RuntimeError("injected: the engine raises")


def die():
    """End the process at once."""
    os._exit(1)


def sleep():
    """Sleep for good."""
    with contextlib.suppress(ValueError):  # outside the main thread, where signals do not arrive anyway
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(3600)


KINDS = {"spin": spin, "stop": stop, "raise": fail, "die": die, "sleep": sleep}


def folder():
    """Return the folder that steers the engines, or None."""
    return Path(os.environ[FAULTS]) if FAULTS in os.environ else None


def said(name, default=""):
    """Return what a file of the folder holds."""
    try:
        return (folder() / name).read_text().strip()
    except (OSError, TypeError):
        return default


def note(name, line):
    """Add a line to a file of the folder."""
    if folder() is not None:
        with (folder() / name).open("a") as file:
            file.write(line + "\n")


def asked(faults):
    """Return the key of every post that was asked, in order, with the process that was asked."""
    return [json.loads(line) for line in (faults / "asked").read_text().splitlines()]


class FaultyEngine:
    """Answers each request with a hash of its prompt and picture."""

    name = "faulty"
    version = "1"

    def __init__(self, answer):
        note("loaded", str(os.getpid()))
        kind = said("load")
        if kind:
            KINDS[kind]()
        self._answer = answer

    def answer(self, posts):
        """See ``Engine.answer``."""
        for at, post in enumerate(posts):
            note("asked", json.dumps([post.post_key, os.getpid()]))
            time.sleep(float(said("delay_s", "0")))
            for request in post.requests:
                self._fault(request.prompt, post.post_key)
            for number, request in enumerate(post.requests):
                text = f"{request.task} {request.prompt} {post.image_sha256}"
                output = hashlib.sha256(text.encode()).hexdigest()[:12]
                yield self._answer(at, number, output, prompt_tokens=1, output_tokens=1)

    def _fault(self, prompt, post_key):
        found = FAULT.search(f"{prompt} {said('fault-' + post_key.rpartition('/')[2])}")
        if not found or said("calm"):
            return
        if found[2]:
            name = f"had-{post_key.replace('/', '-')}"
            if said(name).count("x") >= int(found[2]):
                return
            note(name, "x")
        KINDS[found[1]]()


def instead_of(open_engine):
    """Return ``open_engine``, with the faulty engine for the model ``faulty``."""

    def opened(entry, *arguments, **options):
        if entry.name != MODEL:
            return open_engine(entry, *arguments, **options)
        from mmsoc_ray.engines.protocol import Answer

        return FaultyEngine(Answer)

    return opened
