import dataclasses
import shutil

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from toy_job import toy_job

from mmsoc_ray.config.recipe import Validation
from mmsoc_ray.data import LocalStorage
from mmsoc_ray.engines.adapters import LORA_WEIGHTS
from mmsoc_ray.errors import ConfigurationError, TrainingError
from mmsoc_ray.training import fetch_adapter, find_card, list_adapters, train_adapter, trainer, worker, write_adapter
from mmsoc_ray.training.drivers import Driver, checkpoint_name
from mmsoc_ray.training.loop import STATE_FILE


@pytest.fixture
def job(toy):
    return toy_job(toy.data, toy.checkpoint)


@pytest.fixture
def root(tmp_path):
    return LocalStorage(tmp_path / "root")


def changed(job, **fields):
    return dataclasses.replace(job, recipe=job.recipe.model_copy(update=fields))


def weights(root, name):
    return (fetch_adapter(root, find_card(root, name)) / LORA_WEIGHTS).read_bytes()


def test_a_job_becomes_an_adapter_with_its_card(job, root):
    notes = []
    card = train_adapter(job, root, note=notes.append, in_process=True)
    assert list_adapters(root) == [card]
    assert (card.name, card.model, card.method, card.rank, card.alpha) == (job.name, "tiny", "lora", 4, 8.0)
    assert (card.samples, card.steps, card.epochs, card.left_out) == (18, 6, 2.0, {})
    assert card.curves[-1].step == card.best_step == 6
    assert card.curves[-1].loss < card.curves[0].loss
    assert "18 samples, 6 steps of 6" in notes[0]
    assert any("samples/s" in line and "left" in line for line in notes)
    assert root.list_files("training") == []


def test_an_adapter_that_is_there_is_not_trained_again(job, root):
    first = train_adapter(job, root, note=lambda _: None, in_process=True)
    notes = []
    assert train_adapter(job, root, note=notes.append, in_process=True) == first
    assert notes == [f"{job.name}: trained before"]


def test_the_same_job_gives_the_same_bytes(job, root, tmp_path):
    other = LocalStorage(tmp_path / "other")
    train_adapter(job, root, note=lambda _: None, in_process=True)
    train_adapter(changed(job, micro_batch=3), other, note=lambda _: None, in_process=True)
    assert weights(root, job.name) == weights(other, job.name)


def test_validation_tells_loss_and_the_tasks_metrics(job, root):
    validation = Validation(share=0.3, posts=3, every_steps=2)
    card = train_adapter(changed(job, validation=validation), root, note=lambda _: None, in_process=True)
    checked = [point for point in card.curves if point.validation_loss is not None]
    assert [point.step for point in checked][:2] == [2, 4]
    assert card.left_out["held_out"] > 0
    assert set(checked[-1].validation) <= {
        "toy_memes/humor/macro_f1", "toy_memes/sarcasm/macro_f1", "toy_news/misinformation/macro_f1",
    }  # fmt: skip
    assert checked[-1].validation


def test_validation_changes_nothing_that_is_learnt(job, root, tmp_path):
    held = {"share": 0.3, "posts": 3}
    often = changed(job, validation=Validation(**held, every_steps=1), dropout=0.1)
    once = changed(job, validation=Validation(**held, every_steps=100), dropout=0.1)
    other = LocalStorage(tmp_path / "other")
    train_adapter(often, root, note=lambda _: None, in_process=True)
    train_adapter(once, other, note=lambda _: None, in_process=True)
    assert weights(root, often.name) == weights(other, once.name)


def test_a_training_that_gets_no_better_stops_and_keeps_its_best_weights(job, root):
    validation = Validation(share=0.3, posts=3, every_steps=1, patience=1)
    worse = changed(job, validation=validation, learning_rate=1.0, clip_norm=None, epochs=20.0)
    card = train_adapter(worse, root, note=lambda _: None, in_process=True)
    losses = {point.step: point.validation_loss for point in card.curves}
    assert card.steps < 60
    assert card.best_step == min(losses, key=losses.get)
    assert card.best_step < card.steps


def test_an_adapter_trained_on_a_job_answers_as_peft_loads_it(job, root, toy):
    card = train_adapter(job, root, note=lambda _: None, in_process=True)
    base = transformers.AutoModelForImageTextToText.from_pretrained(toy.checkpoint)
    adapted = peft.PeftModel.from_pretrained(base, fetch_adapter(root, card))
    stored = load_file(fetch_adapter(root, card) / LORA_WEIGHTS)
    loaded = peft.get_peft_model_state_dict(adapted)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())


def test_a_loss_that_is_no_number_names_step_and_remedy(job, root):
    wild = changed(job, learning_rate=1.0, method="full", precision="float16", clip_norm=None, epochs=50.0)
    with pytest.raises(
        TrainingError, match=r"loss of step \d+ is (nan|inf)\. Lower learning_rate.*goes on from the last"
    ):
        train_adapter(wild, root, note=lambda _: None, in_process=True)
    assert list_adapters(root) == []


def test_an_unknown_target_module_is_refused(job, root):
    with pytest.raises(
        ConfigurationError, match=r"recipe 'toy', model 'tiny': targets: no linear layer is called 'nope'"
    ):
        train_adapter(changed(job, targets=("nope",)), root, note=lambda _: None, in_process=True)


def test_a_training_with_nothing_to_learn_is_refused(job, root):
    with pytest.raises(ConfigurationError, match=r"nothing is left to learn .*18 too_long"):
        train_adapter(changed(job, context_tokens=8), root, note=lambda _: None, in_process=True)


def test_a_training_goes_on_from_the_newest_whole_checkpoint(job, root, monkeypatch):
    folder = f"training/{job.name}"
    found = {f"{folder}/{driver}/{checkpoint_name(step)}": step for driver, step in (("a", 2), ("b", 6), ("a", 4))}
    whole, torn, lower = found
    for name, step in found.items():
        (root.root / name).mkdir(parents=True)
        torch.save({"step": step}, root.root / name / STATE_FILE)
    (root.root / torn / STATE_FILE).write_bytes((root.root / torn / STATE_FILE).read_bytes()[:300])
    assert worker.newest_state(root, job.name) == {"step": 4}
    shutil.rmtree(root.root / lower)
    vanishing = (lower, torn, whole)
    monkeypatch.setattr(worker, "checkpoints", lambda root, name: [*vanishing])
    assert worker.newest_state(root, job.name) == {"step": 2}
    vanishing = (lower, torn)
    assert worker.newest_state(root, job.name) is None


def test_workers_go_on_from_a_checkpoint_that_all_of_them_could_read(job, root, monkeypatch):
    for step in (2, 4):
        folder = root.root / "training" / job.name / "a" / checkpoint_name(step)
        folder.mkdir(parents=True)
        torch.save({"step": step}, folder / STATE_FILE)
    of_the_other = iter([False, True])
    monkeypatch.setattr(worker.sharding, "of_all", lambda mine: [mine, next(of_the_other)])
    assert worker.newest_state(root, job.name) == {"step": 2}


@pytest.fixture
def rival(job, root, tmp_path):
    """Store the job's adapter with weights that this process does not come to, as another one would; once."""
    elsewhere = LocalStorage(tmp_path / "elsewhere")
    other = changed(job, seed=7)
    card = train_adapter(other, elsewhere, note=lambda _: None, in_process=True).model_copy(update={"name": job.name})
    files = fetch_adapter(elsewhere, find_card(elsewhere, other.name))
    return lambda: write_adapter(root, card, files)


def meets(line, rival):
    """Return what stores the rival's adapter at the first note that has a line's words, and keeps the notes."""
    notes = []

    def note(said):
        notes.append(said)
        if line in said:
            rival()

    return note, notes


def assert_only_the_rivals(root, card):
    assert len(root.list_files("adapters")) == len(card.files) + 1
    assert fetch_adapter(root, card)
    assert not (root.root / "training").exists()


@pytest.mark.parametrize("line", ["18 samples, 6 steps", "step 2 of 6", "step 6 of 6"])
def test_an_adapter_that_another_process_stores_meanwhile_is_taken(line, job, root, rival):
    note, notes = meets(line, rival)
    card = train_adapter(job, root, note=note, in_process=True)
    assert card == rival()
    assert notes[-1] == f"{job.name}: stored by another process meanwhile"
    assert sum("step 4" in said for said in notes) == (line == "step 6 of 6"), "it trains no further than it must"
    assert_only_the_rivals(root, card)


@pytest.mark.parametrize("moment", ["a worker starts", "the training fails", "the card is written"])
def test_a_rival_is_met_until_the_last_moment(moment, job, root, rival, monkeypatch):
    written = trainer._card

    def wait(driver, note):
        rival()
        return True

    def card_of(*arguments):
        rival()
        return written(*arguments)

    def fail(*arguments, **options):
        rival()
        raise TrainingError("Path not found")

    if moment == "the training fails":
        monkeypatch.setattr(trainer, "_fit", fail)
    elif moment == "a worker starts":
        monkeypatch.setattr(Driver, "wait", wait)
        monkeypatch.setattr(worker, "load_checkpoint", pytest.fail)
    else:
        monkeypatch.setattr(trainer, "_card", card_of)
    notes = []
    card = train_adapter(job, root, note=notes.append, in_process=True)
    assert card == rival()
    assert notes[-1] == f"{job.name}: stored by another process meanwhile"
    assert_only_the_rivals(root, card)
