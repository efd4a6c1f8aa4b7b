"""What the generators of the four data sets hand over: posts not yet drawn, and the explanations of their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mmsoc_ray.data.demo.templates import Template
from mmsoc_ray.data.posts import Post


@dataclass(frozen=True)
class Explanation:
    """Why a post has a label, in a sentence.

    Attributes:
        post_key: The post.
        task: The task whose label is explained.
        explanation: The sentence.
        source: Who wrote it: ``rule``, the rule that made text and label.
    """

    post_key: str
    task: str
    explanation: str
    source: Literal["rule"] = "rule"


@dataclass(frozen=True)
class Draft:
    """A post whose picture is not drawn yet.

    Attributes:
        post: The post without its picture.
        template_id: The template of its text.
        composition: Background and arrangement of its picture.
        reasons: Task to the explanation of its label.
        picture: Draws and encodes the picture.
    """

    post: Post
    template_id: str
    composition: str
    reasons: Mapping[str, str]
    picture: Callable[[], bytes]


@dataclass(frozen=True)
class DemoDataset:
    """One of the four data sets.

    Attributes:
        name: For example ``demo_memes``.
        sizes: Split to its number of posts.
        labels: Task to its vocabulary; a task of free text has none.
        templates: All templates of its texts.
        reference_forms: Split to the forms of its free-text references.
        drafts: Yields the posts of a split in their order.
    """

    name: str
    sizes: Mapping[str, int]
    labels: Mapping[str, tuple[str, ...]]
    templates: Sequence[Template]
    reference_forms: Mapping[str, Sequence[str]]
    drafts: Callable[[str], Iterator[Draft]]
