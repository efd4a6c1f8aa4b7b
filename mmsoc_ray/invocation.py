"""How this process was called: at a prompt, or as a submitted job."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from mmsoc_ray.errors import ConfigurationError


def is_submitted_job() -> bool:
    """Whether ``ray job submit`` started this process: it then runs in an uploaded folder that vanishes with it."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def program_name() -> str:
    """Return what stands before the arguments, as a shell takes it: the command, or the interpreter and its script."""
    called = sys.argv[0]
    if called.endswith(".py"):
        return shlex.join([sys.orig_argv[0], called])
    found = shutil.which(Path(called).name)
    return Path(called).name if found and Path(found).samefile(called) else shlex.quote(called)


def resume_command(program: str, arguments: Sequence[str]) -> str:
    """Return the command that takes up an interrupted run, to be pasted where the first one was typed.

    Args:
        program: What ``program_name`` gave.
        arguments: The arguments that followed it.
    """
    submit = "ray job submit --working-dir . -- " if is_submitted_job() else ""
    return f"{submit}{program} {shlex.join(arguments)}".rstrip()


def refuse_vanishing(field: str, path: str) -> None:
    """Refuse a relative path inside a submitted job: its folder is removed when the job ends."""
    if is_submitted_job() and "://" not in path and not Path(path).is_absolute():
        raise ConfigurationError(
            f"{field} {path!r} is relative, and a submitted job's folder vanishes with the job. Give an absolute path "
            f"that every node shares, or s3://BUCKET/PREFIX."
        )
