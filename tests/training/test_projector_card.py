import json

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mmsoc_ray.training.projector import ProjectorConfig, TrainedProjector
from mmsoc_ray.training.projector_card import write_projector


def _trained(loss_shuffled):
    held_out = {"loss": 2.0, "loss_shuffled": loss_shuffled, "own_preferred": 0.9, "pictures": 40, "tokens": 1234}
    return TrainedProjector(
        {"linear_1.weight": torch.ones(2, 3)}, {"step": 7, "validation": held_out, "unseen_glyphs": held_out}
    )


def test_the_card_says_what_was_measured_and_how_it_was_made(tmp_path):
    file = tmp_path / "projector.safetensors"
    write_projector(_trained(2.5), ProjectorConfig(seed=3), file, command="python jobs/train_projector.py --seed 3")
    card = file.with_suffix(".md").read_text()
    assert "| 40 | 1,234 | 2.000 | 2.500 | 90% |" in card
    assert "gap of 0.50 nats" in card
    assert "python jobs/train_projector.py --seed 3" in card
    assert all(licence in card for licence in ("CC BY-SA 4.0", "Apache-2.0"))


def test_the_card_admits_a_projector_that_saw_nothing(tmp_path):
    file = tmp_path / "projector.safetensors"
    write_projector(_trained(2.02), ProjectorConfig(), file, command="train")
    assert "hardly the pictures" in file.with_suffix(".md").read_text()


def test_weights_carry_their_record(tmp_path):
    file = tmp_path / "projector.safetensors"
    write_projector(_trained(2.5), ProjectorConfig(), file, command="train")
    assert load_file(file)["linear_1.weight"].dtype == torch.bfloat16
    with safe_open(file, "pt") as stored:
        assert json.loads(stored.metadata()["record"])["metrics"]["step"] == 7
