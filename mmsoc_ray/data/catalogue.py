"""The data sets that this project knows: the demo's, and the published ones that its tasks were made for."""

from __future__ import annotations

from dataclasses import dataclass

from mmsoc_ray.data.demo import DEMO_DATASETS, DEMO_LICENCE, demo_dataset
from mmsoc_ray.data.twitter_sarcasm import DATASET as TWITTER_SARCASM
from mmsoc_ray.data.twitter_sarcasm import LICENCE as TWITTER_LICENCE

LICENCE_UNKNOWN = "not known here: read the terms on the source's page before you use or pass on posts"


@dataclass(frozen=True)
class CataloguedDataset:
    """A data set that is known, whether or not it is prepared anywhere.

    Attributes:
        name: What a grid calls it.
        tasks: Tasks that it has targets for.
        source: Where it comes from.
        licence: Licence note.
        splits: Its splits and their posts, as far as they are known; approximate numbers say so.
    """

    name: str
    tasks: tuple[str, ...]
    source: str
    licence: str
    splits: str


def _demo(name: str) -> CataloguedDataset:
    found = demo_dataset(name)
    splits = ", ".join(f"{split} {posts:,}" for split, posts in found.sizes.items())
    return CataloguedDataset(name, tuple(found.labels), "drawn by this project for its demo", DEMO_LICENCE, splits)


_PUBLISHED = (
    CataloguedDataset(
        "politifact",
        ("misinformation",),
        "Hugging Face Ahren09/MMSoc_PolitiFact (revision not known); PolitiFact of FakeNewsNet",
        LICENCE_UNKNOWN,
        "fewer than 1,000 posts; division not known",
    ),
    CataloguedDataset(
        "gossipcop",
        ("misinformation",),
        "Hugging Face Ahren09/MMSoc_GossipCop (67a204e); GossipCop of FakeNewsNet",
        LICENCE_UNKNOWN,
        "train 9,988, test 2,672",
    ),
    CataloguedDataset(
        "hateful_memes",
        ("hate_speech",),
        "Hugging Face Ahren09/MMSoc_HatefulMemes (c9a9a6c); Hateful Memes",
        LICENCE_UNKNOWN,
        "train about 8,500, validation 500, test about 1,000",
    ),
    CataloguedDataset(
        "memotion",
        ("humor", "sarcasm", "offensiveness", "sentiment", "ocr"),
        "Hugging Face Ahren09/MMSoc_Memotion (cdb15b6); Memotion 7k",
        LICENCE_UNKNOWN,
        "train 5,593, validation 699, test 700",
    ),
    CataloguedDataset(
        "youtube2000",
        ("tagging",),
        "Hugging Face Ahren09/MMSoc_YouTube2000 (c22527e)",
        LICENCE_UNKNOWN,
        "train about 1,580, validation 198, test 196",
    ),
    CataloguedDataset(
        "youtube2m",
        ("tagging",),
        "Hugging Face Ahren09/MMSoc_YouTube2M (revision not known)",
        LICENCE_UNKNOWN,
        "about two million posts; division not known",
    ),
    CataloguedDataset(
        TWITTER_SARCASM,
        ("sarcasm",),
        "zzq2000/MIKO, texts and labels only",
        TWITTER_LICENCE,
        "validation 2,410, test 2,409",
    ),
)
"""Sizes and revisions as MM-Soc's and MIKO's repositories and cards give them (arXiv 2402.14154, 2402.18169)."""


def catalogue() -> tuple[CataloguedDataset, ...]:
    """Return all known data sets: the demo's, then the published ones."""
    return (*map(_demo, DEMO_DATASETS), *_PUBLISHED)
