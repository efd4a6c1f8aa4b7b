"""Which pairs of post and task a training learns, found without reading a picture."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import Post, SplitManifest, Storage, Unit, plan_units, read_texts
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import ModelEntry
from mmsoc_ray.tasks import Task, right_answer
from mmsoc_ray.training.order import SampleOrder
from mmsoc_ray.training.targets import Explanations, PostTask, read_explanations, shuffled

Tasks = Mapping[str, tuple[Task, str]]
"""Name to the task and the variant of its prompt."""


@dataclass(frozen=True)
class FeedPlan:
    """All that a training learns, and in which order.

    Attributes:
        recipe: How it learns.
        entry: The model.
        data_uri: Root of the datasets.
        tasks: What is asked.
        units: Where the posts are.
        order: The order of their samples.
        explanations: Why answers are right, for every pair that is learnt; None where the recipe learns none.
        left_out: Why to how many pairs that have a target are not learnt: ``no_answer`` (a label that the task does not
            have), ``no_explanation``, ``held_out`` (for validation).
    """

    recipe: Recipe
    entry: ModelEntry
    data_uri: str
    tasks: Tasks
    units: tuple[Unit, ...]
    order: SampleOrder
    explanations: Explanations | None
    left_out: Mapping[str, int]

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.order.total_steps(epochs=self.recipe.epochs, steps=self.recipe.steps)

    def tasks_of(self, post: Post) -> list[str]:
        """Return the tasks that are learnt of a post, in the order of their samples."""
        known = self.explanations
        found = [task for task, why in _why_not(post, self.tasks, self.recipe).items() if why is None]
        return [task for task in found if known is None or (post.post_key, task) in known]


def plan_feed(
    recipe: Recipe, entry: ModelEntry, data: Storage, splits: Mapping[str, SplitManifest], tasks: Tasks
) -> FeedPlan:
    """Find what a training learns: the targets of all posts are read, and no picture.

    Args:
        recipe: How the model learns; its ``datasets`` and ``tasks`` narrow what follows.
        entry: The model.
        data: Root of the datasets.
        splits: Dataset to the split that is learnt.
        tasks: What the grid asks this model.

    Raises:
        ConfigurationError: Nothing is left to learn, or explanations are missing.
    """
    asked = {name: task for name, task in sorted(tasks.items()) if recipe.tasks is None or name in recipe.tasks}
    learnt = [m for name, m in sorted(splits.items()) if recipe.datasets is None or name in recipe.datasets]
    known = read_explanations(recipe, data, [(manifest.dataset, manifest.split) for manifest in learnt])
    units, counts, why, pairs = [], [], Counter[str](), dict[PostTask, str]()
    for manifest in learnt:
        posts = read_texts(data, manifest)
        for unit in plan_units(manifest, limit=recipe.limit):
            count = 0
            for post in itertools.islice(posts, unit.posts):
                for task, reason in _why_not(post, asked, recipe).items():
                    if reason is None and recipe.explained and (post.post_key, task) not in known:
                        reason = "no_explanation"
                    if reason is not None:
                        why[reason] += 1
                        continue
                    count += 1
                    if recipe.explained:
                        pairs[post.post_key, task] = known[post.post_key, task]
            units.append(unit)
            counts.append(count)
    if not sum(counts):
        raise nothing_to_learn(recipe, why)
    if recipe.target == "shuffled_explanation":
        pairs = shuffled(pairs, recipe.seed)
    order = SampleOrder(tuple(counts), recipe.seed, recipe.batch, recipe.shuffle_units)
    explanations = pairs if recipe.explained else None
    return FeedPlan(recipe, entry, data.uri, asked, tuple(units), order, explanations, dict(why))


def is_held_out(post_key: str, share: float) -> bool:
    """Whether a post of the training split is kept for validation: by the first eight bytes of its key's SHA-256."""
    return int.from_bytes(hashlib.sha256(post_key.encode("utf-8", "surrogatepass")).digest()[:8]) < share * 2**64


def nothing_to_learn(recipe: Recipe, left_out: Mapping[str, int]) -> ConfigurationError:
    """Return the error of a training whose every sample is left out."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return ConfigurationError(
        f"recipe {recipe.name!r}: nothing is left to learn in the split {recipe.split!r}"
        f" ({reasons or 'no post has a target for any of the tasks'}). Check its datasets, tasks, limit, validation, "
        f"context_tokens and explanations."
    )


def _why_not(post: Post, tasks: Tasks, recipe: Recipe) -> dict[str, str | None]:
    """Return why each task of a post is not learnt, as far as its targets tell; None where it is."""
    share = recipe.validation.share if recipe.validation is not None else None
    found = {}
    for name, (task, _) in tasks.items():
        if name in post.targets:
            held = share is not None and is_held_out(post.post_key, share)
            found[name] = "held_out" if held else _no_answer(task, post.targets[name])
    return found


def _no_answer(task: Task, reference: tuple[str, ...]) -> str | None:
    try:
        right_answer(task, reference)
    except ValueError:
        return "no_answer"
    return None
