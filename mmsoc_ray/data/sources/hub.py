"""Data sets of a Hugging Face hub: fetched at a pinned revision into the hub's own cache, then read like a folder.

The client and its environment are the hub's: ``HF_ENDPOINT`` names another server, ``HF_HOME`` the cache, ``HF_TOKEN``
who asks. Only the files that a mapping names are fetched.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from mmsoc_ray.config.mapping import SourceMapping
from mmsoc_ray.errors import ConfigurationError

SCHEME = "hf://"
_ADDRESS = re.compile(r"hf://datasets/(?P<name>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")


@dataclass(frozen=True)
class HubCopy:
    """A fetched data set.

    Attributes:
        folder: Where its files lie, in the hub's cache.
        address: Its address with the commit to which the revision led.
    """

    folder: Path
    address: str


def fetch_from_hub(address: str, mapping: SourceMapping) -> HubCopy:
    """Fetch the files that a mapping names.

    Args:
        address: ``hf://datasets/OWNER/NAME@REVISION``; a commit is best, since a branch moves.
        mapping: Its tables, and its folder of pictures, are fetched.

    Raises:
        ConfigurationError: For an address without a revision, and where the hub does not give the files.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ConfigurationError(
            f"--source {address!r}: write hf://datasets/OWNER/NAME@REVISION. The revision (a commit, best of all) is "
            f"needed, so that the same command gives the same data."
        )
    from huggingface_hub import snapshot_download

    folder = mapping.image.folder if mapping.image is not None else ""
    patterns = [name for names in mapping.files.values() for name in names] + ([f"{folder}/*"] if folder else [])
    try:
        path = snapshot_download(
            found["name"],
            repo_type="dataset",
            revision=found["revision"],
            allow_patterns=patterns,
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    except (OSError, ValueError, RuntimeError) as error:  # what the client's own errors are made of
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigurationError(f"--source {address}: the hub did not give the files: {first}") from error
    return HubCopy(Path(path), f"{SCHEME}datasets/{found['name']}@{Path(path).name}")
