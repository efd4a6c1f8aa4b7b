"""What posts that are not learnt say of a training: their loss, and the tasks' own metrics on the model's answers.

The evaluation's own engine answers, around the model in memory; answers are read by the tasks' parsers and scored as
the results table scores them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmsoc_ray.data import PictureError, Post, Storage, decode_picture, open_storage, plan_units, read_unit
from mmsoc_ray.engines.checkpoint import Checkpoint
from mmsoc_ray.engines.protocol import Picture, PreparedPost, Request
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.results.cells import HEADLINE_OF_KIND, CellRows, score_cell
from mmsoc_ray.tasks import render, shows_picture
from mmsoc_ray.training import sharding
from mmsoc_ray.training.curves import Checked
from mmsoc_ray.training.feed import sample_maker
from mmsoc_ray.training.job import TrainedTask, TrainingJob
from mmsoc_ray.training.loop import Training
from mmsoc_ray.training.plan import is_held_out
from mmsoc_ray.training.samples import LeftOutError
from mmsoc_ray.training.targets import read_explanations

AT_ONCE = 16
"""Pictures of so many posts are held at a time."""

Row = tuple[str, str, str, str | None, str | None, tuple[str, ...], int]
"""Dataset, task, post key, output, error, reference, output tokens."""


class Validator:
    """Asks the validation posts; the workers share them, but for a sharded model, whose workers compute together.

    Args:
        job: The training.
        loaded: The base in memory, in which the adapter learns.
        training: The training in memory.

    Raises:
        ConfigurationError: No validation post can be asked.
    """

    def __init__(self, job: TrainingJob, loaded: Checkpoint, training: Training) -> None:
        self._job, self._training = job, training
        data = open_storage(job.data_uri)
        self._posts = validation_posts(job, data)
        splits = [(post.dataset, post.split) for post in self._posts]
        self._explanations = read_explanations(job.recipe, data, sorted(set(splits)))
        self._maker = sample_maker(job.entry, job.recipe)
        weights = next(p for p in training.trainable.base.parameters())
        dtype: Any = str(weights.dtype).removeprefix("torch.")
        entry = dataclasses.replace(job.entry, dtype=dtype, decoding=job.entry.decoding.unsampled)
        # What is shared between prompts needs another attention, in which the model would go on learning.
        plain = dataclasses.replace(loaded, shares_prefixes=False)
        self._engine = TransformersEngine(plain, entry, device=weights.device)
        if not any(self._samples(self._posts)):
            raise ConfigurationError(
                f"recipe {job.recipe.name!r}, validation: none of its {len(self._posts)} posts has a sample that fits "
                f"(context_tokens, pictures, explanations). Name another split or share."
            )

    def __call__(self) -> Checked:
        """Return what the posts say of the model as it is now."""
        self._training.trainable.model.eval()
        alone = self._training.sharded or sharding.workers() == 1
        mine = self._posts if alone else self._posts[sharding.rank() :: sharding.workers()]
        loss, tokens, rows = 0.0, 0.0, list[Row]()
        for chunk in (mine[at : at + AT_ONCE] for at in range(0, len(mine), AT_ONCE)):
            for sample in self._samples(chunk):
                loss += self._training.loss_of(self._maker.collate([sample]))
                tokens += sample.answer_tokens
            rows += self._answers(chunk)
        if not alone:
            rows = [row for part in sharding.of_all(rows) for row in part]
        # Summed where each has asked all posts, too: on one loss, all decide alike.
        loss, tokens = sharding.add_up((loss, tokens), self._training.device)
        return Checked(loss / max(1, tokens), self._metrics(rows))

    def _samples(self, posts: Sequence[Post]) -> Iterator[Any]:
        for post, task in self._pairs(posts):
            explanation = self._explanations.get((post.post_key, task.definition.name))
            try:
                yield self._maker.make(post, task.definition, explanation, variant=task.variant)
            except LeftOutError:
                continue

    def _pairs(self, posts: Sequence[Post]) -> Iterator[tuple[Post, TrainedTask]]:
        for post in posts:
            for task in self._job.tasks[post.dataset]:
                if post.targets.get(task.definition.name):
                    yield post, task

    def _answers(self, posts: Sequence[Post]) -> Iterator[Row]:
        asked = {post.post_key: [task for _, task in self._pairs([post])] for post in posts}
        prepared = [self._prepared(post, asked[post.post_key]) for post in posts]
        with self._training.computing():
            answers = list(self._engine.answer(prepared))
        for answer in answers:
            post = posts[answer.post_index]
            task = asked[post.post_key][answer.request_index].definition.name
            reference = tuple(post.targets[task])
            yield post.dataset, task, post.post_key, answer.output, answer.error, reference, answer.output_tokens

    def _prepared(self, post: Post, tasks: Sequence[TrainedTask]) -> PreparedPost:
        setting = self._job.setting
        shown = shows_picture(setting) and self._job.entry.sees_pictures
        requests = tuple(
            Request(
                setting,
                task.definition.name,
                render(task.definition, post, setting, variant=task.variant),
                with_image=shown,
                max_new_tokens=task.max_new_tokens,
            )
            for task in tasks
        )
        sha256 = hashlib.sha256(post.image).hexdigest() if shown and post.image is not None else None
        return PreparedPost(post.post_key, self._picture(post) if shown else None, sha256, requests)

    def _picture(self, post: Post) -> Picture | None:
        try:
            return decode_picture(post.image or b"", max_side=self._job.entry.max_picture_side)
        except PictureError:
            return None  # the engine answers with an error, which counts as wrong

    def _metrics(self, rows: Sequence[Row]) -> Mapping[str, float]:
        cells: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            cells[row[0], row[1]].append(row)
        found: dict[str, float] = {}
        for (dataset, name), of_cell in sorted(cells.items()):
            task = next(task.definition for task in self._job.tasks[dataset] if task.definition.name == name)
            _, _, keys, outputs, errors, references, tokens = zip(*of_cell, strict=True)
            scores = score_cell(task, CellRows(keys, outputs, errors, references, tokens), identity=f"{dataset}/{name}")
            wanted = HEADLINE_OF_KIND[task.kind]
            found |= {
                f"{dataset}/{name}/{metric.name}": metric.value for metric in scores.metrics if metric.name == wanted
            }
        return found


def validation_posts(job: TrainingJob, data: Storage) -> list[Post]:
    """Return the first posts of each dataset that the recipe keeps for validation and that have something to ask.

    Raises:
        ConfigurationError: There are none.
    """
    validation = job.recipe.validation
    if validation is None:
        return []
    found: list[Post] = []
    for dataset, split in job.splits.items():
        manifest = job.validation_splits.get(dataset, split)
        names = [task.definition.name for task in job.tasks[dataset]]
        posts = (post for unit in plan_units(manifest) for post in read_unit(data, unit))
        kept = (
            post
            for post in posts
            if (validation.share is None or is_held_out(post.post_key, validation.share))
            and any(post.targets.get(name) for name in names)
        )
        found += itertools.islice(kept, validation.posts)
    if not found:
        raise ConfigurationError(
            f"recipe {job.recipe.name!r}, validation: no post of {', '.join(job.splits)} is there to check on. Name a "
            f"split that has posts, or a larger share."
        )
    return found
