from dataclasses import dataclass, field

import pytest
import torch

from mmsoc_ray.config import Recipe
from mmsoc_ray.config.recipe import Validation
from mmsoc_ray.training.curves import Checked, Curves
from mmsoc_ray.training.loop import StepReport


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self):
        return self.now


class Weights:
    """What learns: one number, the step."""

    def __init__(self, training):
        self.training = training

    def state(self):
        return {"weight": torch.tensor(float(self.training.step))}


@dataclass
class Counting:
    """A training that only counts."""

    patience: int | None = None
    step: int = 0
    total: int = 400
    trainable: Weights = field(init=False)

    def __post_init__(self):
        self.trainable = Weights(self)

    @property
    def finished(self):
        return self.step >= self.total

    @property
    def recipe(self):
        validation = Validation(share=0.1, every_steps=1, patience=self.patience)
        return Recipe(name="toy", learning_rate=1, batch=1, steps=400, validation=validation)


@pytest.fixture
def clock():
    return Clock()


def walk(curves, training, clock, steps, loss=6.0, seconds=2.0):
    for _ in range(steps):
        training.step += 1
        clock.now += seconds
        curves.add(StepReport(loss, tokens=3, samples=8, learning_rate=0.1))


def test_a_point_is_over_all_steps_since_the_one_before(clock):
    training = Counting()
    curves = Curves(training, clock)
    walk(curves, training, clock, 2)
    walk(curves, training, clock, 2, loss=12.0)
    assert curves.due
    curves.point()
    assert (curves.points[0].step, curves.points[0].loss, curves.points[0].samples_per_s) == (4, 3.0, 4.0)
    assert curves.line() == "step 4 of 400, loss 3.000, 4.0 samples/s, 0:13:12 left"


def test_a_long_training_has_about_a_hundred_points(clock):
    training = Counting()
    curves = Curves(training, clock)
    due = 0
    while not training.finished:
        walk(curves, training, clock, 1)
        due += curves.due
    assert due == 100


def test_validation_counts_as_no_time_of_learning(clock):
    training = Counting()
    curves = Curves(training, clock)
    walk(curves, training, clock, 1)

    def ask():
        clock.now += 1000
        return Checked(1.5, {"toy/humor/macro_f1": 0.5})

    curves.check(ask)
    assert curves.points[0].samples_per_s == 4.0
    assert curves.line().endswith("validation loss 1.500, toy/humor/macro_f1 0.500")


def test_patience_keeps_the_best_weights_and_stops_after_so_many_worse_checks(clock):
    training = Counting(patience=2)
    curves = Curves(training, clock)
    stopped = []
    for loss in (3.0, 2.0, 2.5, 1.0, 1.5, 1.2):
        walk(curves, training, clock, 1)
        curves.check(lambda loss=loss: Checked(loss))
        stopped.append(curves.stopped)
    assert stopped == [False] * 5 + [True]
    assert (curves.best_step, float(curves.best["weight"])) == (4, 4.0)


def test_without_patience_the_last_weights_count(clock):
    training = Counting()
    curves = Curves(training, clock)
    for loss in (1.0, 2.0, 3.0, 4.0):
        walk(curves, training, clock, 1)
        curves.check(lambda loss=loss: Checked(loss))
    assert not curves.stopped
    assert curves.best == {}


def test_what_a_checkpoint_holds_goes_on_with_the_same_loss(clock):
    training = Counting(patience=2)
    curves = Curves(training, clock)
    walk(curves, training, clock, 4)
    curves.check(lambda: Checked(1.0))
    walk(curves, training, clock, 2)
    again = Curves(training, clock)
    again.restore(curves.state())
    for one in (curves, again):
        one.point()
    assert [point.loss for point in again.points] == [point.loss for point in curves.points]
    assert again.best_step == 4
