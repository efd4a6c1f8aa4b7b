"""Which pairs of post and task a training learns, found without reading a picture."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import Post, SplitManifest, Storage, Unit, plan_units, read_manifest, read_texts
from mmsoc_ray.data.posts import fold_text
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import ModelEntry
from mmsoc_ray.tasks import Task, right_answer
from mmsoc_ray.training.order import SampleOrder
from mmsoc_ray.training.targets import Explanations, PostTask, read_explanations, shuffled

Tasks = Mapping[str, tuple[Task, str]]
"""Name to the task and the variant of its prompt."""


@dataclass(frozen=True)
class Choice:
    """Which tasks of a post are learnt.

    Attributes:
        tasks: By dataset, what is asked about its posts.
        explanations: Why answers are right; None where none are learnt.
        held_out: Share of the posts that are kept for validation.
        elsewhere: Digests of the texts that stand in a split that the training is kept apart from.
    """

    tasks: Mapping[str, Tasks]
    explanations: Explanations | None
    held_out: float
    elsewhere: frozenset[bytes]

    def why_not(self, post: Post) -> dict[str, str | None]:
        """Return why each task that a post has a target for is not learnt; None where it is."""
        asked = [name for name in self.tasks[post.dataset] if name in post.targets]
        if is_held_out(post.post_key, self.held_out):
            return dict.fromkeys(asked, "held_out")
        if self.elsewhere and text_digest(post) in self.elsewhere:
            return dict.fromkeys(asked, "text_elsewhere")
        return {name: self._why_not(post, name) for name in asked}

    def _why_not(self, post: Post, name: str) -> str | None:
        try:
            right_answer(self.tasks[post.dataset][name][0], post.targets[name])
        except ValueError:
            return "no_answer"
        known = self.explanations
        return "no_explanation" if known is not None and (post.post_key, name) not in known else None


@dataclass(frozen=True)
class FeedPlan:
    """All that a training learns, and in which order.

    Attributes:
        recipe: How it learns.
        entry: The model.
        data_uri: Root of the datasets.
        choice: Which tasks of a post are learnt, and why their answers are right.
        units: Where the posts are.
        order: The order of their samples.
        left_out: Why to how many pairs that have a target are not learnt: ``held_out`` (for validation),
            ``text_elsewhere``, ``no_answer`` (a label that the task does not have), ``no_explanation``.
    """

    recipe: Recipe
    entry: ModelEntry
    data_uri: str
    choice: Choice
    units: tuple[Unit, ...]
    order: SampleOrder
    left_out: Mapping[str, int]

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.order.total_steps(epochs=self.recipe.epochs, steps=self.recipe.steps)

    def tasks_of(self, post: Post) -> list[str]:
        """Return the tasks that are learnt of a post, in the order of their samples."""
        return [task for task, why in self.choice.why_not(post).items() if why is None]


def plan_feed(
    recipe: Recipe,
    entry: ModelEntry,
    data: Storage,
    splits: Mapping[str, SplitManifest],
    tasks: Mapping[str, Tasks],
) -> FeedPlan:
    """Find what a training learns: the targets of all posts are read, and no picture.

    Args:
        recipe: How the model learns; its ``datasets`` and ``tasks`` narrow what follows.
        entry: The model.
        data: Root of the datasets.
        splits: Dataset to the split that is learnt.
        tasks: By dataset, what the grid asks this model.

    Raises:
        ConfigurationError: Nothing is left to learn, or explanations or the split to be kept apart from are missing.
    """
    learnt = [m for name, m in sorted(splits.items()) if recipe.datasets is None or name in recipe.datasets]
    choice = _choice(recipe, data, learnt, tasks)
    units, counts, why, pairs = [], [], Counter[str](), list[PostTask]()
    for manifest in learnt:
        posts = read_texts(data, manifest)
        for unit in plan_units(manifest, limit=recipe.limit):
            found = [
                ((post.post_key, task), reason)
                for post in itertools.islice(posts, unit.posts)
                for task, reason in choice.why_not(post).items()
            ]
            why.update(reason for _, reason in found if reason is not None)
            units.append(unit)
            counts.append(sum(reason is None for _, reason in found))
            pairs += (pair for pair, reason in found if reason is None and recipe.explained)
    if not sum(counts):
        raise nothing_to_learn(recipe, why)
    choice = dataclasses.replace(choice, explanations=_explanations_of(choice, pairs, recipe))
    order = SampleOrder(tuple(counts), recipe.seed, recipe.batch, recipe.shuffle_units)
    return FeedPlan(recipe, entry, data.uri, choice, tuple(units), order, dict(why))


def _choice(recipe: Recipe, data: Storage, learnt: Sequence[SplitManifest], tasks: Mapping[str, Tasks]) -> Choice:
    asked = {
        manifest.dataset: {
            name: task
            for name, task in sorted(tasks[manifest.dataset].items())
            if recipe.tasks is None or name in recipe.tasks
        }
        for manifest in learnt
    }
    known = read_explanations(recipe, data, [(manifest.dataset, manifest.split) for manifest in learnt])
    elsewhere = frozenset[bytes]()
    if recipe.apart_from is not None:
        others = (read_manifest(data, manifest.dataset, recipe.apart_from) for manifest in learnt)
        texts = (text_digest(post) for other in others for post in read_texts(data, other))
        elsewhere = frozenset(text for text in texts if text is not None)
    share = recipe.validation.share if recipe.validation is not None else None
    return Choice(asked, known if recipe.explained else None, share or 0.0, elsewhere)


def _explanations_of(choice: Choice, pairs: Sequence[PostTask], recipe: Recipe) -> Explanations | None:
    """Return the explanations of the pairs that are learnt, shuffled among them where the recipe says so."""
    if choice.explanations is None:
        return None
    own = {pair: choice.explanations[pair] for pair in pairs}
    return shuffled(own, recipe.seed) if recipe.target == "shuffled_explanation" else own


def text_digest(post: Post) -> bytes | None:
    """Return a digest of a post's text that case and white space do not change; None where it has no text."""
    folded = fold_text(post.text)
    return hashlib.sha256(folded.encode("utf-8", "surrogatepass")).digest() if folded else None


def is_held_out(post_key: str, share: float) -> bool:
    """Whether a post of the training split is kept for validation: by the first eight bytes of its key's SHA-256."""
    return int.from_bytes(hashlib.sha256(post_key.encode("utf-8", "surrogatepass")).digest()[:8]) < share * 2**64


def nothing_to_learn(recipe: Recipe, left_out: Mapping[str, int]) -> ConfigurationError:
    """Return the error of a training whose every sample is left out."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return ConfigurationError(
        f"recipe {recipe.name!r}: nothing is left to learn in the split {recipe.split!r}"
        f" ({reasons or 'no post has a target for any of the tasks'}). Check its datasets, tasks, limit, validation, "
        f"apart_from, context_tokens and explanations."
    )
