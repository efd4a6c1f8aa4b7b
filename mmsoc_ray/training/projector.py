"""Training demo-llava's projector on Ray Train.

Encoder and language model are frozen; the encoder's features are computed once. Training has two phases: *alignment*
moves each picture's projected tokens towards the embeddings of the words that describe it, which needs no language
model; then the *language* phase learns from the loss of the frozen language model on the answers' tokens. Whether the
picture matters is measured on held-out pictures by giving the same answers the features of another picture.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from mmsoc_ray.models.digests import json_digest
from mmsoc_ray.training.packing import Packed, Packer
from mmsoc_ray.training.projector_data import Example
from mmsoc_ray.training.projector_model import (
    StandardisingProjector,
    WordTargets,
    alignment_loss,
    answer_losses,
    feature_statistics,
    word_tokens,
)

STATE_FILE = "state.pt"


@dataclass(frozen=True)
class ProjectorConfig:
    """How the projector is trained.

    Attributes:
        seed: Decides pictures, initial weights and the order of both phases.
        train_pictures: Pictures to learn from.
        validation_pictures: Pictures of compositions that training never shows.
        unseen_pictures: Pictures of glyphs that training never shows.
        align_steps: Steps of the alignment phase.
        align_batch: Pictures in each of them.
        align_rate: Highest learning rate of the phase.
        language_steps: Steps of the language phase.
        language_batch: Pictures in each, all questions of each.
        language_rate: Highest learning rate of the phase.
        align_weight: Weight of the alignment loss in the language phase.
        warmup_steps: Steps over which each phase's rate rises.
        report_every: Language steps between evaluations and checkpoints; the alignment phase has one at its end.
        quick_pictures: Held-out pictures of the evaluations on the way; the last one takes all.
        threads: Threads that torch may use.
    """

    seed: int = 0
    train_pictures: int = 2400
    validation_pictures: int = 96
    unseen_pictures: int = 48
    align_steps: int = 400
    align_batch: int = 32
    align_rate: float = 2e-3
    language_steps: int = 250
    language_batch: int = 4
    language_rate: float = 1e-3
    align_weight: float = 0.1
    warmup_steps: int = 40
    report_every: int = 50
    quick_pictures: int = 16
    threads: int = 2

    @property
    def total_steps(self) -> int:
        """Steps of both phases."""
        return self.align_steps + self.language_steps

    @property
    def run_name(self) -> str:
        """A name for runs with these settings, so that other settings never go on from their checkpoints."""
        settings = {name: value for name, value in asdict(self).items() if name != "threads"}
        return "projector-" + json_digest(settings)[:12]


@dataclass(frozen=True)
class PictureSet:
    """Encoded pictures with their questions.

    Attributes:
        features: (pictures, picture tokens, vision_hidden).
        packed: Questions and answers of each.
        words: Tokens of each picture's words.
    """

    features: torch.Tensor
    packed: Sequence[Packed]
    words: Sequence[tuple[int, ...]]

    @classmethod
    def build(cls, features: torch.Tensor, examples: Sequence[Example], packer: Packer, tokenizer: Any) -> PictureSet:
        """Tokenise examples."""
        return cls(
            features,
            [packer.pack(example.turns) for example in examples],
            [word_tokens(tokenizer, example.words) for example in examples],
        )

    def head(self, count: int) -> PictureSet:
        """Return the first pictures."""
        return PictureSet(self.features[:count], self.packed[:count], self.words[:count])


@dataclass(frozen=True)
class HeldOut:
    """What a held-out set says.

    Attributes:
        loss: Mean loss of an answer token, in nats.
        loss_shuffled: The same with each picture exchanged for another of the set.
        own_preferred: Share of pictures whose answers are likelier with their own picture than with the other.
        pictures: How many.
        tokens: Answer tokens.
    """

    loss: float
    loss_shuffled: float
    own_preferred: float
    pictures: int
    tokens: int


class ProjectorTraining:
    """A training run in memory: the frozen model, the projector, its optimizer and the step it stands at.

    Args:
        config: How to train.
        model: A LLaVA; it is frozen here.
        packer: Makes batches.
        train: Pictures to learn from.
    """

    def __init__(self, config: ProjectorConfig, model: Any, packer: Packer, train: PictureSet) -> None:
        self.config, self.packer, self.train = config, packer, train
        self.model = model.eval().requires_grad_(False)
        embeddings = model.get_input_embeddings().weight.detach().float()
        torch.manual_seed(config.seed)
        self.projector = StandardisingProjector(*feature_statistics(train.features), embeddings.shape[1])
        self.targets = WordTargets.collect(train.words, embeddings)
        self.optimizer = torch.optim.AdamW(self.projector.parameters(), lr=config.align_rate, weight_decay=0.0)
        self.step = 0

    def take_step(self) -> float:
        """Learn from the next batch and return its loss."""
        aligning = self.step < self.config.align_steps
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        loss = self._align() if aligning else self._speak()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.projector.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def _align(self) -> torch.Tensor:
        chosen = batch_indices(self.config.seed, self.step, self.config.align_batch, len(self.train.packed))
        projected = self.projector(self.train.features[chosen])
        return alignment_loss(projected, [self.train.words[index] for index in chosen], self.targets)

    def _speak(self) -> torch.Tensor:
        step = self.step - self.config.align_steps
        chosen = batch_indices(self.config.seed + 1, step, self.config.language_batch, len(self.train.packed))
        features = self.train.features[chosen]
        batch = self.packer.collate([self.train.packed[index] for index in chosen])
        sums, counts = answer_losses(self.model, self.projector, features, batch)
        words = [self.train.words[index] for index in chosen]
        anchor = alignment_loss(self.projector(features), words, self.targets)
        return sums.sum() / counts.sum() + self.config.align_weight * anchor

    def evaluate(self, held_out: PictureSet) -> HeldOut:
        """Measure the answers' loss with each picture's own features and with those of its neighbour in the set."""
        own, other, tokens = [], [], []
        with torch.inference_mode():
            for start in range(0, len(held_out.packed), self.config.language_batch):
                rows = list(range(start, min(start + self.config.language_batch, len(held_out.packed))))
                batch = self.packer.collate([held_out.packed[row] for row in rows])
                exchanged = [(row + 1) % len(held_out.packed) for row in rows]
                sums, counts = answer_losses(self.model, self.projector, held_out.features[rows], batch)
                shuffled, _ = answer_losses(self.model, self.projector, held_out.features[exchanged], batch)
                own += sums.tolist()
                other += shuffled.tolist()
                tokens += counts.tolist()
        total = sum(tokens)
        preferred = sum(mine < theirs for mine, theirs in zip(own, other, strict=True)) / len(own)
        return HeldOut(sum(own) / total, sum(other) / total, preferred, len(own), total)

    def save(self, folder: Path) -> None:
        """Write all that a later process needs to go on."""
        state = {
            "step": self.step,
            "projector": self.projector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, folder / STATE_FILE)

    def restore(self, folder: Path) -> None:
        """Go on from where ``save`` was called."""
        state = torch.load(folder / STATE_FILE, weights_only=True)
        self.projector.load_state_dict(state["projector"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def learning_rate(config: ProjectorConfig, step: int) -> float:
    """Return the rate of a step: in each phase a linear rise, then half a cosine down to a twentieth."""
    aligning = step < config.align_steps
    within, length = (step, config.align_steps) if aligning else (step - config.align_steps, config.language_steps)
    highest = config.align_rate if aligning else config.language_rate
    warmup = min(config.warmup_steps, length // 2)
    if within < warmup:
        return highest * (within + 1) / warmup
    progress = (within - warmup) / max(1, length - warmup)
    return highest * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def batch_indices(seed: int, step: int, batch: int, size: int) -> list[int]:
    """Return the rows of a step; they depend on the arguments alone, so that a resumed run sees the same batches.

    Each epoch is a new permutation; what does not fill a batch at its end is left out.
    """
    batch = min(batch, size)
    epoch, place = divmod(step, size // batch)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
    chosen: list[int] = order[place * batch : (place + 1) * batch].tolist()
    return chosen


def run_training(training: ProjectorTraining, validation: PictureSet, unseen: PictureSet) -> None:
    """Train to the end inside a Ray Train worker, reporting held-out losses with each checkpoint."""
    config = training.config
    if (checkpoint := ray.train.get_checkpoint()) is not None:
        with checkpoint.as_directory() as folder:
            training.restore(Path(folder))
    started, recent = time.monotonic(), []
    while training.step < config.total_steps:
        recent.append(training.take_step())
        language_step = training.step - config.align_steps
        last = training.step == config.total_steps
        if last or (language_step >= 0 and language_step % config.report_every == 0):
            whole = validation if last else validation.head(config.quick_pictures)
            metrics: dict[str, Any] = {
                "step": training.step,
                "train_loss": sum(recent) / len(recent),
                "seconds": time.monotonic() - started,
                "validation": asdict(training.evaluate(whole)),
            }
            if last:
                metrics["unseen_glyphs"] = asdict(training.evaluate(unseen))
            _report(metrics, training)
            recent = []
        elif language_step < 0 and training.step % 250 == 0:
            print(json.dumps({"step": training.step, "train_loss": sum(recent) / len(recent)}), flush=True)
            recent = []


def _report(metrics: Mapping[str, Any], training: ProjectorTraining) -> None:
    print(json.dumps(metrics), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        training.save(Path(folder))
        (Path(folder) / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        ray.train.report(dict(metrics), checkpoint=Checkpoint.from_directory(folder))


def _train_loop(settings: dict[str, Any]) -> None:
    """Prepare models and features and train; runs in the Ray Train worker."""
    from mmsoc_ray.models.checkpoints import demo_checkpoint
    from mmsoc_ray.models.demo_llava import PICTURE_TOKENS, load_parts
    from mmsoc_ray.training.projector_data import make_examples
    from mmsoc_ray.training.projector_features import cached_features

    config = ProjectorConfig(**settings)
    torch.set_num_threads(config.threads)
    model, tokenizer = load_parts(demo_checkpoint("smollm2-135m"))
    packer = Packer(tokenizer, PICTURE_TOKENS)
    sets = []
    for split, count in (
        ("train", config.train_pictures),
        ("validation", config.validation_pictures),
        ("unseen_glyphs", config.unseen_pictures),
    ):
        examples = make_examples(split, count, config.seed)  # type: ignore[arg-type]
        features = cached_features(examples, model.model.vision_tower)
        sets.append(PictureSet.build(features, examples, packer, tokenizer))
    run_training(ProjectorTraining(config, model, packer, sets[0]), sets[1], sets[2])


@dataclass(frozen=True)
class TrainedProjector:
    """What a training run leaves.

    Attributes:
        weights: Weights of a ``LlavaMultiModalProjector``.
        metrics: Last report: step, losses, held-out figures.
    """

    weights: Mapping[str, torch.Tensor]
    metrics: Mapping[str, Any]


def train_projector(config: ProjectorConfig, *, storage: Path, name: str, workers: int = 1) -> TrainedProjector:
    """Train on Ray Train; called again with the same storage and name, it goes on from the last checkpoint.

    Args:
        config: How to train.
        storage: Folder of the run's checkpoints.
        name: Name of the run inside it.
        workers: 1 for a worker process, 0 to train in this process.
    """
    trainer = TorchTrainer(
        _train_loop,
        train_loop_config=asdict(config),
        scaling_config=ScalingConfig(
            num_workers=workers, resources_per_worker={"CPU": config.threads} if workers else None
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage.resolve()),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=2),
        ),
    )
    result = trainer.fit()
    if result.checkpoint is None:
        raise RuntimeError(f"training {name!r} left no checkpoint under {storage}; see the log of its worker")
    with result.checkpoint.as_directory() as folder:
        return read_checkpoint(Path(folder))


def read_checkpoint(folder: Path) -> TrainedProjector:
    """Return projector and metrics of a checkpoint."""
    state = torch.load(folder / STATE_FILE, weights_only=True)["projector"]
    projector = StandardisingProjector(state["mean"], state["std"], state["linear_2.bias"].shape[0])
    projector.load_state_dict(state)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return TrainedProjector(projector.folded(), metrics)
