"""Every architecture of the registry learns by adapter and by projector, and nothing but those changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers
from tiny_models import MAKERS

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import Post
from mmsoc_ray.models import get_model
from mmsoc_ray.tasks import TASKS
from mmsoc_ray.training.loop import Training
from mmsoc_ray.training.methods import TrainableModel
from mmsoc_ray.training.samples import SampleMaker

STEPS = 4


@dataclass(frozen=True)
class Batch:
    step: int
    micro_batches: list[dict[str, torch.Tensor]]
    samples: int
    answer_tokens: int


@pytest.mark.parametrize("method", ["lora", "projector"])
@pytest.mark.parametrize("name", MAKERS)
def test_an_architecture_learns_what_the_method_says(
    name: str, method: str, tiny_checkpoint: Callable[[str], Path], make_meme: Callable[..., Post]
) -> None:
    folder, entry = tiny_checkpoint(name), dataclasses.replace(get_model(name), dtype="float32")
    recipe = Recipe.model_validate(
        {"name": "tiny", "method": method, "learning_rate": 1e-4, "steps": STEPS, "batch": 2, "micro_batch": 2,
         "context_tokens": 600, "schedule": "constant", "precision": "float32"}
    )  # fmt: skip
    maker = SampleMaker(folder, entry, recipe)
    samples = [maker.make(make_meme(post), TASKS["humor"]) for post in ("m1", "m3")]
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    training = Training(
        TrainableModel(model, recipe, where="tiny"), recipe, total=STEPS, device=torch.device("cpu"),
        dtype=torch.float32,
    )  # fmt: skip
    frozen = {name: p.clone() for name, p in training.trainable.model.named_parameters() if not p.requires_grad}
    tokens = sum(sample.answer_tokens for sample in samples)
    without_dropout(model)
    micro_batches = maker.micro_batches(samples)
    before = sum(map(training.loss_of, micro_batches))
    for step in range(STEPS):
        training.take_step(Batch(step, micro_batches, len(samples), tokens))
    assert sum(map(training.loss_of, micro_batches)) < before
    parameters = dict(training.trainable.model.named_parameters())
    assert all(torch.equal(parameters[name], kept) for name, kept in frozen.items())
    learning = training.trainable.parameters
    seen = ("vision", "visual", "vision_tower")
    assert not [name for name in learning if method == "lora" and any(part in seen for part in name.split("."))]


def without_dropout(model: torch.nn.Module) -> None:
    """Take the chance out: in a model of random weights it changes the loss more than a few steps do."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
