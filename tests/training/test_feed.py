import dataclasses
import runpy
from collections import Counter
from pathlib import Path

import pytest
import torch

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import open_storage, read_manifest, write_split
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import ModelEntry
from mmsoc_ray.tasks import TASKS
from mmsoc_ray.training.feed import check_feed, step_batches
from mmsoc_ray.training.packing import IGNORED
from mmsoc_ray.training.plan import plan_feed

ENGINES = runpy.run_path(str(Path(__file__).parents[1] / "engines" / "conftest.py"))
TASKS_ASKED = {name: (TASKS[name], "official") for name in ("humor", "sarcasm")}
RECIPE = Recipe(
    name="tiny", learning_rate=1e-3, epochs=2, batch=6, micro_batch=2, context_tokens=250, shuffle_units=2, seed=5
)
POSTS = 15
BAD = {"m3": "no_picture", "m4": "broken_picture", "m7": "too_long"}


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_meme):
    """Fifteen posts in four units, three of them bad."""
    data = open_storage(tmp_path_factory.mktemp("data"))
    posts = {f"m{number}": make_meme(f"m{number}", "train", text="funny " * number) for number in range(POSTS)}
    posts["m3"] = dataclasses.replace(posts["m3"], image=None)
    posts["m4"] = dataclasses.replace(posts["m4"], image=b"no picture")
    posts["m7"] = dataclasses.replace(posts["m7"], text="x" * 2000)
    write_split(data, "toy_memes", "train", posts.values(), posts_per_unit=4)
    return data


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    ENGINES["save_llava_checkpoint"](folder)
    return ModelEntry("tiny", "tiny", 0, "transformers", str(folder), sees_pictures=True)


@pytest.fixture(scope="module")
def plan_of(data, entry):
    def plan(**fields):
        recipe = RECIPE.model_copy(update=fields)
        splits = {"toy_memes": read_manifest(data, "toy_memes", "train")}
        # The memes' official prompts hold no text: those of these tasks do.
        tasks = {name: (dataclasses.replace(task, uses_text=True), v) for name, (task, v) in TASKS_ASKED.items()}
        return plan_feed(recipe, entry, data, splits, {"toy_memes": tasks})

    return plan


def in_process(plan, **options):
    return list(step_batches(plan, streamed=False, **options))


def assert_same(found, expected):
    assert [batch.step for batch in found] == [batch.step for batch in expected]
    for one, other in zip(found, expected, strict=True):
        assert dataclasses.replace(one, micro_batches=[]) == dataclasses.replace(other, micro_batches=[])
        for inputs, wanted in zip(one.micro_batches, other.micro_batches, strict=True):
            assert inputs.keys() == wanted.keys()
            assert all(torch.equal(inputs[name], wanted[name]) for name in wanted)


def rows(batches):
    """Count what was learnt, by the tokens of each sample."""
    counted = Counter()
    for batch in batches:
        for inputs in batch.micro_batches:
            for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
                counted[tuple(ids[mask.bool()].tolist())] += 1
    return counted


def test_ray_data_gives_what_the_process_alone_gives(plan_of, ray_session):
    plan = plan_of()
    assert_same(list(step_batches(plan, rank=1, workers=2)), in_process(plan, rank=1, workers=2))


def test_a_stream_that_begins_later_is_the_rest_of_the_whole_one(plan_of, ray_session):
    plan = plan_of()
    whole = in_process(plan)
    for start in range(plan.total_steps):
        assert_same(in_process(plan, start_step=start), whole[start:])
    assert_same(list(step_batches(plan, start_step=3)), whole[3:])
    assert in_process(plan, start_step=plan.total_steps) == []
    assert list(step_batches(plan, start_step=plan.total_steps)) == []


def test_every_good_sample_is_learnt_once_in_each_epoch(plan_of):
    batches = in_process(plan_of())
    counted = rows(batches)
    assert len(counted) == 2 * (POSTS - len(BAD))
    assert set(counted.values()) == {2}
    assert [batch.epoch for batch in batches] == [0] * 5 + [1] * 5


def test_any_number_of_workers_learns_the_same_in_a_step(plan_of):
    plan = plan_of()
    alone = in_process(plan)
    three = [in_process(plan, rank=rank, workers=3) for rank in range(3)]
    for step, batch in enumerate(alone):
        shares = [worker[step] for worker in three]
        assert rows(shares) == rows([batch])
        assert sum(share.answer_tokens for share in shares) == batch.answer_tokens


def test_bad_posts_are_left_out_and_counted_and_stop_nothing(plan_of):
    why = Counter()
    for batch in in_process(plan_of(epochs=1)):
        why.update(batch.left_out)
        assert batch.samples + sum(batch.left_out.values()) == 6
    assert why == {"no_picture": 2, "broken_picture": 2, "too_long": 2}


def test_what_a_batch_says_of_itself_is_true(plan_of):
    for batch in in_process(plan_of()):
        assert sum(len(inputs["input_ids"]) for inputs in batch.micro_batches) == batch.samples
        assert sum(int((inputs["labels"] != IGNORED).sum()) for inputs in batch.micro_batches) == batch.answer_tokens
        assert all(len(inputs["input_ids"]) <= RECIPE.micro_batch for inputs in batch.micro_batches)
        assert all(len(inputs["pixel_values"]) == len(inputs["input_ids"]) for inputs in batch.micro_batches)


def test_a_training_that_would_leave_out_everything_is_refused(plan_of):
    check_feed(plan_of())
    with pytest.raises(ConfigurationError, match=r"nothing is left to learn .*2 broken_picture, 2 no_picture, 26 too"):
        check_feed(plan_of(context_tokens=20))


def test_data_that_changed_under_a_training_are_refused(plan_of, entry, make_meme, tmp_path):
    data = open_storage(tmp_path)
    manifest = write_split(data, "toy_memes", "train", [make_meme("m1", "train"), make_meme("m2", "train")])
    plan = plan_feed(RECIPE, entry, data, {"toy_memes": manifest}, {"toy_memes": TASKS_ASKED})
    write_split(data, "toy_memes", "train", [make_meme("m1", "train")])
    with pytest.raises(ConfigurationError, match=r"row group 0 has 2 samples and had 4 when the training began"):
        in_process(plan)
