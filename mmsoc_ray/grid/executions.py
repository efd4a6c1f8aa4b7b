"""What Ray's errors mean for a stream, and how what a failed execution left behind is ended."""

from __future__ import annotations

import contextlib
import os

import ray
import ray.data.exceptions
import ray.exceptions
import ray.util

from mmsoc_ray.grid.retries import EngineLoadError, StreamStalledError

_AUTH_MODE_ADVICE = (
    "RAY_AUTH_MODE is token here: if the cluster was started without it, its head cannot ask this process about its "
    "actors and ends them. Set it for both or for neither."
)


def explained(error: Exception, *, timeout_s: float) -> Exception:
    """Return an error of Ray Data as one that says whether streaming again may help.

    Args:
        error: What an execution raised.
        timeout_s: Its no-progress timeout in seconds.
    """
    if isinstance(error, ray.data.exceptions.ExecutionTimeoutError):
        return StreamStalledError(f"no progress for {timeout_s:g} s")
    if isinstance(error, ray.exceptions.RayTaskError):
        return error
    if isinstance(error, ray.exceptions.RayActorError) and error.actor_init_failed:
        return EngineLoadError(f"the engine cannot be loaded: {str(error).strip().splitlines()[-1]}")
    # Ray Data raises errors of its own in the name of a SystemException.
    if isinstance(error, ray.exceptions.RayError) or isinstance(error.__cause__, ray.data.exceptions.SystemException):
        return StreamStalledError(f"{type(error).__name__}: {_said(error)}")
    return error


def _said(error: Exception) -> str:
    """Return an error's first line and, of an actor that died, its name and why: lines of fields stand in between."""
    first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if not isinstance(error, ray.exceptions.RayActorError):
        return first
    named = [line for line in rest if line.startswith("class_name:")]
    reasons = [line for line in rest if line.startswith("The actor")]
    said = " ".join([first, *named, *reasons])
    refused = "all references to the actor were removed" in said and os.environ.get("RAY_AUTH_MODE") == "token"
    return f"{said} {_AUTH_MODE_ADVICE}" if refused else said


def kill_actors(execution: str) -> None:
    """End what is left of an execution's actors: Ray waits for the end of their tasks, and a hung one has none.

    Measured with Ray 2.60: a process that spins outside Python ends at once, a stopped one after 5 s; without this both
    kept their CPU for as long as was waited.

    Args:
        execution: How the names of its actors begin.
    """
    if not ray.is_initialized():
        return
    for name in ray.util.list_named_actors():
        if name.startswith(execution):
            with contextlib.suppress(ValueError):
                ray.kill(ray.get_actor(name), no_restart=True)
