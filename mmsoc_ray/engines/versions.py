"""Which version of an engine would answer, without loading it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from mmsoc_ray.engines.baseline import MajorityEngine, RandomEngine
from mmsoc_ray.models.entry import ModelEntry


def pictures_by() -> str:
    """Return what the transformers library resizes pictures with: torchvision where it is installed.

    Most pixels differ by no more than one step of 255 between the two, some at the edges of tiles by several, so that
    answers can differ.
    """
    return f"torchvision {version('torchvision')}" if find_spec("torchvision") else "Pillow"


def transformers_version() -> str:
    """Return the version of the transformers engine: those of its packages, as they are installed.

    Raises:
        PackageNotFoundError: One of them is not.
    """
    return f"{version('transformers')} (torch {version('torch')}, pictures by {pictures_by()})"


def engine_version(entry: ModelEntry) -> str | None:
    """Return what an engine that this process would open for a model records as its version.

    None where that is not known: a server does not say which weights it holds, and a version that other machines have
    cannot be told from a machine without the packages.
    """
    if entry.engine == "baseline":
        return {"majority": MajorityEngine.version, "random": RandomEngine.version}.get(entry.name)
    if entry.engine != "transformers":
        return None
    try:
        return transformers_version()
    except PackageNotFoundError:
        return None
