"""What one training is: a recipe on a model and splits, and the name of the adapter that comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import SplitManifest
from mmsoc_ray.models import ModelEntry
from mmsoc_ray.models.digests import json_digest
from mmsoc_ray.tasks import FINETUNED, Task, base_setting
from mmsoc_ray.training.adapters import adapter_name
from mmsoc_ray.training.targets import SAMPLE_FORMAT


@dataclass(frozen=True)
class TrainedTask:
    """A task as a model learns it: asked as the evaluation asks it.

    Attributes:
        definition: The task.
        variant: Which of its prompts.
        max_new_tokens: Answers to validation posts are cut after so many tokens.
    """

    definition: Task
    variant: str = "official"
    max_new_tokens: int = 32

    def content(self) -> dict[str, Any]:
        """Return what of it enters the data's digest."""
        task = self.definition
        return {"task": task.name, "prompt": task.question(self.variant), "answers": dict(task.answers)}


@dataclass(frozen=True)
class TrainingJob:
    """A training, with all that it needs on any machine of a cluster.

    Attributes:
        recipe: How to train.
        entry: The model; its checkpoint can be opened from every machine.
        base_digest: Digest of that checkpoint.
        data_uri: Root of the datasets.
        splits: By dataset, the split to learn.
        tasks: By dataset, what is asked about its posts.
        validation_splits: By dataset, the split to check on; empty where the recipe checks on a share or not at all.
        explanations: By dataset, the digest of its explanations; empty where none are learnt.
        apart: By dataset, the digest of the split that the training is kept apart from, if any.
    """

    recipe: Recipe
    entry: ModelEntry
    base_digest: str
    data_uri: str
    splits: Mapping[str, SplitManifest]
    tasks: Mapping[str, tuple[TrainedTask, ...]]
    validation_splits: Mapping[str, SplitManifest] = field(default_factory=dict)
    explanations: Mapping[str, str] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """The setting whose prompts it learns to answer."""
        return base_setting(FINETUNED, sees_pictures=self.entry.sees_pictures)

    @property
    def data_digest(self) -> str:
        """Digest of what is learnt; where the data lie does not enter."""
        datasets = {
            dataset: {
                "split": manifest.digest,
                "tasks": [task.content() for task in self.tasks[dataset]],
                "validation": self.validation_splits[dataset].digest if dataset in self.validation_splits else None,
                "explanations": self.explanations.get(dataset),
                "apart": self.apart.get(dataset),
            }
            for dataset, manifest in self.splits.items()
        }
        framed = {
            "setting": self.setting,
            "template": self.entry.prompt_template,
            "max_picture_side": self.entry.max_picture_side,
        }
        content = {"datasets": datasets, "framed": framed}
        return json_digest(content)

    @property
    def name(self) -> str:
        """Name of the adapter."""
        return adapter_name(
            self.recipe.name,
            self.recipe.content(),
            base_digest=self.base_digest,
            data_digest=self.data_digest,
            sample_format=SAMPLE_FORMAT,
        )
