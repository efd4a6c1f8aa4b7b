import pytest
import torch
import transformers

from mmsoc_ray.training.schedule import rate_factor


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_the_rate_is_that_of_the_transformers_library(schedule, warmup):
    name = "constant_with_warmup" if schedule == "constant" else schedule
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = transformers.get_scheduler(name, optimizer, num_warmup_steps=int(warmup * 20), num_training_steps=20)
    for step in range(20):
        assert rate_factor(schedule, step, 20, warmup) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
