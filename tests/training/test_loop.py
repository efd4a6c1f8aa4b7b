import math

import pytest
import torch
from small_feed import Batch, feed
from test_methods import METHODS, recipe_of

from mmsoc_ray.errors import TrainingError
from mmsoc_ray.training.loop import Training, read_state
from mmsoc_ray.training.loss import AnswerLoss
from mmsoc_ray.training.methods import TrainableModel

CPU = torch.device("cpu")
STEPS = 6


@pytest.fixture
def start(load_tiny):
    def make(architecture="text", method="lora", *, state=None, dtype=torch.float32, **fields):
        said = {"steps": STEPS, "dropout": 0.1, "warmup": 0.2} if method in METHODS[:5] else {"steps": STEPS}
        recipe = recipe_of(method, **{**said, **fields})
        initial = state["initial"] if state else None
        trainable = TrainableModel(load_tiny(architecture), recipe, where="toy", initial=initial)
        training = Training(trainable, recipe, total=STEPS, device=CPU, dtype=dtype)
        if state:
            training.restore(state)
        return training

    return make


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("architecture", ["text", "llava", "idefics3"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_on_every_architecture(architecture, method, start, tiny_batch):
    if (architecture, method) == ("text", "projector"):
        pytest.skip("it has no projector")
    training = start(architecture, method, dropout=0.0) if method in METHODS[:5] else start(architecture, method)
    micro = tiny_batch(architecture)
    tokens = int((micro["labels"] != -100).sum())
    reports = [training.take_step(Batch(step, (micro,), 2, tokens)) for step in range(STEPS)]
    assert reports[-1].loss < reports[1].loss
    assert training.finished


@pytest.mark.parametrize("architecture", ["text", "llava", "idefics3"])
def test_the_loss_is_that_of_the_library_on_the_answers_tokens(architecture, load_tiny, tiny_batch):
    model, micro = load_tiny(architecture).eval(), tiny_batch(architecture)
    tokens = int((micro["labels"] != -100).sum())
    torch.testing.assert_close(AnswerLoss(model, model)(micro) / tokens, model(**micro).loss)


def test_accumulated_micro_batches_give_what_one_gives(start, tiny_batch):
    whole, cut = start(dropout=0.0), start(dropout=0.0)
    for one, parts in zip(feed(tiny_batch, "text", STEPS), feed(tiny_batch, "text", STEPS, cut=True), strict=True):
        assert whole.take_step(one).loss == pytest.approx(cut.take_step(parts).loss, rel=1e-5)
    state, other = whole.trainable.state(), cut.trainable.state()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS[:-1])
def test_a_restored_training_ends_with_the_same_bytes(method, start, tiny_batch, tmp_path):
    training = start(method=method)
    for batch in feed(tiny_batch, "text", STEPS):
        training.take_step(batch)
        if training.step == 3:
            training.save(tmp_path, {"curves": [1.0]})
    state = read_state(tmp_path)
    assert state["extra"] == {"curves": [1.0]}
    again = start(method=method, state=state)
    for batch in feed(tiny_batch, "text", STEPS, first=3):
        again.take_step(batch)
    assert same(training.trainable.state(), again.trainable.state())


def test_gradient_checkpointing_changes_nothing(start, tiny_batch):
    plain, checkpointed = start("llava", dropout=0.0), start("llava", dropout=0.0, gradient_checkpointing=True)
    for batch in feed(tiny_batch, "llava", 2):
        assert plain.take_step(batch).loss == pytest.approx(checkpointed.take_step(batch).loss, rel=1e-6)
    state, other = plain.trainable.state(), checkpointed.trainable.state()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_mixed_precision_learns_in_float32(dtype, method, start, tiny_batch):
    training = start(method=method, dtype=dtype)
    reports = [training.take_step(batch) for batch in feed(tiny_batch, "text", 3)]
    assert all(math.isfinite(report.loss) for report in reports)
    assert {tensor.dtype for tensor in training.trainable.state().values()} == {torch.float32}


def test_a_gradient_is_cut_to_its_bound(start, tiny_batch, monkeypatch):
    bounds = []
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda p, bound: bounds.append(bound) or clip(p, bound))
    for bound in (0.5, None):
        start(clip_norm=bound).take_step(next(feed(tiny_batch, "text", STEPS)))
    assert bounds == [0.5, math.inf]


def test_a_loss_that_is_no_number_stops_before_anything_changes(start, tiny_batch):
    training = start(method="full")
    batches = list(feed(tiny_batch, "text", STEPS))
    training.take_step(batches[0])
    parameter = next(iter(training.trainable.parameters.values()))
    with torch.no_grad():
        parameter.fill_(float("nan"))
    before = training.trainable.state()
    with pytest.raises(TrainingError, match=r"the loss of step 1 is nan. Lower learning_rate \(0.01\)"):
        training.take_step(batches[1])
    after = training.trainable.state()
    assert all(torch.equal(before[name].nan_to_num(7), after[name].nan_to_num(7)) for name in before)


def test_a_step_without_a_sample_changes_nothing(start):
    training = start()
    before = training.trainable.state()
    assert training.take_step(Batch(0, (), 0, 0)).tokens == 0
    assert same(before, training.trainable.state())
    assert training.step == 1


def test_a_step_out_of_order_is_refused(start, tiny_batch):
    with pytest.raises(ValueError, match="step 3 was given, and step 0 is next"):
        start().take_step(next(feed(tiny_batch, "text", STEPS, first=3)))
