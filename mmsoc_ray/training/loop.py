"""The training in memory: one optimiser step after another, and all that a later process needs to go on.

A step depends on weights, optimiser state, samples and its own number alone: the learning rate is a function of the
step, and random numbers (dropout) are seeded by seed, step and worker. So a training that goes on from a checkpoint
ends with the same bytes as one that was never stopped, where arithmetic is repeatable (CPU, float32, fixed threads).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from mmsoc_ray.config import Recipe
from mmsoc_ray.errors import TrainingError
from mmsoc_ray.training import sharding
from mmsoc_ray.training.loss import AnswerLoss
from mmsoc_ray.training.methods import TrainableModel
from mmsoc_ray.training.packing import IGNORED
from mmsoc_ray.training.schedule import rate_factor

STATE_FILE = "state.pt"


class TornStateError(Exception):
    """A checkpoint is there in part only."""


class Step(Protocol):
    """A worker's share of the samples of an optimiser step; ``feed.StepBatch`` is one."""

    @property
    def step(self) -> int:
        """Number of the step, from 0."""
        ...

    @property
    def micro_batches(self) -> Sequence[Mapping[str, torch.Tensor]]:
        """Arguments of the model's ``forward``, with ``labels``; none where the worker has no sample of the step."""
        ...

    @property
    def samples(self) -> int:
        """Samples of this worker."""
        ...

    @property
    def answer_tokens(self) -> int:
        """Labels of this worker that are scored."""
        ...


@dataclass(frozen=True)
class StepReport:
    """What a step came to, over all workers.

    Attributes:
        loss: Sum over the answer tokens, in nats.
        tokens: Answer tokens.
        samples: Samples.
        learning_rate: The rate, without a group's own factor.
    """

    loss: float
    tokens: int
    samples: int
    learning_rate: float


class Training:
    """A model that learns, its optimiser, and the step it stands at.

    Attributes:
        trainable: What learns.
        recipe: How.
        total: Steps of the whole training.
        step: Steps taken.
        device: Where it computes.
        sharded: Whether the weights are divided among the workers.
    """

    def __init__(
        self, trainable: TrainableModel, recipe: Recipe, *, total: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Put the model where it learns.

        Args:
            trainable: The model.
            recipe: The recipe.
            total: Steps of the whole training.
            device: Where to compute.
            dtype: In which to compute; what learns is kept in float32.
        """
        self.trainable, self.recipe, self.total, self.step = trainable, recipe, total, 0
        self.device, self._dtype = device, dtype
        base = trainable.base
        base.to(device)
        if recipe.gradient_checkpointing:
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.sharded = recipe.sharding == "fsdp" and sharding.workers() > 1
        if self.sharded:
            sharding.shard(base, dtype)
            trainable.refresh()
        self._loss = AnswerLoss(trainable.model, base)
        about = recipe.optimizer
        self._optimizer = torch.optim.AdamW(
            trainable.groups(),
            lr=recipe.learning_rate,
            betas=about.betas,
            eps=about.eps,
            weight_decay=about.weight_decay,
            fused=not self.sharded,
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)

    @property
    def finished(self) -> bool:
        """Whether all steps are taken."""
        return self.step >= self.total

    def take_step(self, batch: Step) -> StepReport:
        """Learn from the next samples. All workers take every step, each with its own share of them.

        Raises:
            TrainingError: Loss or gradient is not a number, or infinite; nothing was changed then.
        """
        if batch.step != self.step:
            raise ValueError(f"step {batch.step} was given, and step {self.step} is next")
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.step) * 4099 + sharding.rank())
        tokens, samples = map(int, sharding.add_up((batch.answer_tokens, batch.samples), self.device))
        rate = self.recipe.learning_rate * rate_factor(self.recipe.schedule, self.step, self.total, self.recipe.warmup)
        loss = self._learn(batch, tokens, rate) if tokens else 0.0
        self.step += 1
        return StepReport(loss, tokens, samples, rate)

    def _learn(self, batch: Step, tokens: int, rate: float) -> float:
        self.trainable.model.train()
        self._optimizer.zero_grad(set_to_none=True)
        share = (sharding.workers() if self.sharded else 1) / tokens  # FSDP takes the workers' mean
        summed = torch.zeros((), dtype=torch.float64, device=self.device)
        for micro in self._micro_batches(batch):
            with self.computing():
                loss = self._loss(micro)
            self._scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]
            summed += loss.detach()
        learning = list(self.trainable.parameters.values())
        if sharding.workers() > 1 and not self.sharded:
            sharding.add_up_gradients(learning)
        (total,) = sharding.add_up((float(summed),), self.device)
        self._check(total / tokens, "loss")
        self._scaler.unscale_(self._optimizer)
        bound = math.inf if self.recipe.clip_norm is None else self.recipe.clip_norm
        norm = sharding.whole(torch.nn.utils.clip_grad_norm_(learning, bound))
        if not self._scaler.is_enabled():  # else the scaler leaves such a step out and takes a smaller scale
            self._check(float(norm), "gradient's norm")
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return total

    def computing(self) -> Any:
        """Return the context in which the model is called: mixed precision where the recipe has it."""
        mixed = self._dtype != torch.float32 and not self.sharded  # a sharded model casts by itself
        return torch.autocast(self.device.type, self._dtype, enabled=mixed)

    @torch.no_grad()
    def loss_of(self, micro: Mapping[str, torch.Tensor]) -> float:
        """Return the summed loss of a batch without learning from it."""
        self.trainable.model.eval()
        with self.computing():
            return float(self._loss(self._on_device(micro)))

    def _micro_batches(self, batch: Step) -> Iterator[dict[str, torch.Tensor]]:
        """Yield a worker's micro batches; of a sharded model, every worker has to call it equally often."""
        yield from map(self._on_device, batch.micro_batches)
        if self.sharded:
            for _ in range(int(sharding.largest(len(batch.micro_batches), self.device)) - len(batch.micro_batches)):
                nothing = torch.zeros(1, 2, dtype=torch.long)
                empty = {"input_ids": nothing, "attention_mask": nothing + 1, "labels": nothing + IGNORED}
                yield self._on_device(empty)

    def _on_device(self, micro: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in micro.items()}

    def _check(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"the {what} of step {self.step} is {value}. Lower learning_rate ({self.recipe.learning_rate:g}), add "
                f"warmup, set clip_norm, or compute in another precision than {self.recipe.precision}."
            )

    def save(self, folder: Path, extra: Mapping[str, Any]) -> None:
        """Write all that a later process needs to go on. Of a sharded model, all workers have to call it.

        Args:
            folder: Where to; only worker 0 writes.
            extra: What the caller has to remember: plain values and tensors.
        """
        moments = {
            number: {name: sharding.whole(value).cpu() for name, value in state.items()}
            for number, state in self._optimizer.state_dict()["state"].items()
        }
        state = {
            "step": self.step,
            "trained": self.trainable.state(),
            "initial": self.trainable.initial,
            "optimizer": moments,
            "scaler": self._scaler.state_dict(),
            "extra": dict(extra),
        }
        if sharding.rank() == 0:
            with (folder / STATE_FILE).open("wb") as file:  # by name, torch tells no cause of a failure
                torch.save(state, file)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where ``save`` was called."""
        self.step = state["step"]
        self.trainable.load(state["trained"])
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        whole = self._optimizer.state_dict()
        whole["state"] = {
            number: {
                name: sharding.like(parameters[number], value) if value.ndim else value for name, value in one.items()
            }
            for number, one in state["optimizer"].items()
        }
        self._optimizer.load_state_dict(whole)
        self._scaler.load_state_dict(state["scaler"])


def read_state(folder: Path) -> dict[str, Any]:
    """Return what ``Training.save`` wrote; only tensors and plain values are read.

    Raises:
        TornStateError: The file is not whole.
    """
    try:
        state: dict[str, Any] = torch.load(folder / STATE_FILE, weights_only=True, map_location="cpu")
    except (EOFError, OSError, RuntimeError, UnpicklingError) as error:  # whatever torch says of half a file
        raise TornStateError(f"{folder / STATE_FILE} is not whole: {error}") from error
    return state
