import os
import signal
from pathlib import Path

import pytest
import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from mmsoc_ray.training.packing import Packer
from mmsoc_ray.training.projector import (
    PictureSet,
    ProjectorConfig,
    ProjectorTraining,
    batch_indices,
    learning_rate,
    read_checkpoint,
    run_training,
)
from mmsoc_ray.training.projector_data import Turn
from mmsoc_ray.training.projector_model import word_tokens

CONFIG = ProjectorConfig(
    align_steps=20, align_batch=8, language_steps=30, language_batch=4, language_rate=5e-3, warmup_steps=2,
    report_every=15, quick_pictures=4, threads=1,
)  # fmt: skip
ANIMALS = ("red cat", "blue dog")


@pytest.fixture
def pictures(tokenizer):
    """Eight pictures of two kinds, which differ in their features as in their answers."""
    packer = Packer(tokenizer, 65)
    kinds = torch.randn(2, 65, 32, generator=torch.Generator().manual_seed(3))
    turns = [Turn("What is in the picture?", f"A {ANIMALS[row % 2]}.") for row in range(8)]
    return PictureSet(
        torch.stack([kinds[row % 2] for row in range(8)]),
        [packer.pack([turn]) for turn in turns],
        [word_tokens(tokenizer, [ANIMALS[row % 2]]) for row in range(8)],
    )


@pytest.fixture
def training(llava, tokenizer, pictures):
    return ProjectorTraining(CONFIG, llava, Packer(tokenizer, 65), pictures)


def test_training_learns_what_only_the_picture_tells(training, pictures):
    before = training.evaluate(pictures)
    for _ in range(CONFIG.total_steps):
        training.take_step()
    after = training.evaluate(pictures)
    assert after.loss < before.loss
    assert after.loss < after.loss_shuffled - 0.05
    assert after.own_preferred == 1.0


def test_only_the_projector_learns(training, llava):
    before = {name: weight.clone() for name, weight in llava.state_dict().items()}
    for _ in range(CONFIG.align_steps + 3):
        training.take_step()
    assert all(torch.equal(weight, before[name]) for name, weight in llava.state_dict().items())


def test_a_restored_training_goes_on_as_if_never_stopped(training, llava, tokenizer, pictures, tmp_path):
    for _ in range(CONFIG.align_steps + 2):
        training.take_step()
    training.save(tmp_path)
    other = ProjectorTraining(CONFIG, llava, Packer(tokenizer, 65), pictures)
    other.restore(tmp_path)
    assert [other.take_step() for _ in range(3)] == [training.take_step() for _ in range(3)]


def test_it_trains_in_this_process(training, pictures, tmp_path):
    result = TorchTrainer(
        lambda: run_training(training, pictures, pictures),
        scaling_config=ScalingConfig(num_workers=0),
        run_config=RunConfig(name="run", storage_path=str(tmp_path)),
    ).fit()
    assert result.metrics["step"] == CONFIG.total_steps
    assert set(result.metrics["unseen_glyphs"]) == set(result.metrics["validation"])
    assert training.step == CONFIG.total_steps


def test_a_killed_worker_goes_on_from_the_last_checkpoint(training, pictures, ray_session, tmp_path):
    killed_at = CONFIG.align_steps + 20
    log = tmp_path / "steps"

    def loop():
        first = ray.train.get_checkpoint() is None
        take_step = training.take_step

        def step():
            if first and training.step == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            with log.open("a") as stream:
                stream.write(f"{training.step}\n")
            return take_step()

        training.take_step = step
        run_training(training, pictures, pictures)

    result = TorchTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(
            name="run", storage_path=str(tmp_path / "storage"), failure_config=FailureConfig(max_failures=1)
        ),
    ).fit()
    steps = [int(line) for line in log.read_text().split()]
    resumed_at = steps[killed_at]
    # Ray may not have registered the later of the two checkpoints when the worker dies.
    assert resumed_at in (CONFIG.align_steps, CONFIG.align_steps + CONFIG.report_every)
    assert steps == [*range(killed_at), *range(resumed_at, CONFIG.total_steps)]
    with result.checkpoint.as_directory() as folder:
        trained = read_checkpoint(Path(folder))
    assert trained.metrics["step"] == CONFIG.total_steps
    assert trained.weights["linear_2.bias"].shape == (48,)


def test_an_epoch_shows_each_picture_once():
    epoch = [row for step in range(5) for row in batch_indices(0, step, 4, 20)]
    assert sorted(epoch) == list(range(20))
    assert [row for step in range(5, 10) for row in batch_indices(0, step, 4, 20)] != epoch


def test_the_rate_rises_then_falls_in_each_phase():
    rates = [learning_rate(CONFIG, step) for step in range(CONFIG.total_steps)]
    aligning, speaking = rates[: CONFIG.align_steps], rates[CONFIG.align_steps :]
    for phase, highest in ((aligning, CONFIG.align_rate), (speaking, CONFIG.language_rate)):
        assert max(phase) == pytest.approx(highest)
        assert phase[0] < highest
        assert phase[-1] < 0.15 * highest
