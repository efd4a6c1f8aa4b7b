import dataclasses
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import Recipe, Validation
from mmsoc_ray.data import open_storage, read_manifest, write_split
from mmsoc_ray.data.units import read_unit
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import get_model
from mmsoc_ray.tasks import TASKS
from mmsoc_ray.training.plan import is_held_out, plan_feed

RECIPE = Recipe(name="tiny", learning_rate=1e-3, epochs=1, batch=4)
ASKED = {name: (TASKS[name], "official") for name in ("sarcasm", "humor", "misinformation")}


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_meme):
    data = open_storage(tmp_path_factory.mktemp("data"))
    memes = [make_meme(f"m{number}", "train", image=None) for number in range(10)]
    memes[4] = dataclasses.replace(memes[4], targets={"humor": ("hilarious",), "sarcasm": ("sarcastic",)})
    news = [
        dataclasses.replace(make_meme(f"m{number}", "train", image=None), dataset="a_news", targets={})
        for number in range(3)
    ]
    news[1] = dataclasses.replace(news[1], targets={"misinformation": ("fake",)})
    write_split(data, "toy_memes", "train", memes, posts_per_unit=3)
    write_split(data, "a_news", "train", news, posts_per_unit=2)
    return data


@pytest.fixture(scope="module")
def plan_of(data):
    def plan(**fields):
        splits = {name: read_manifest(data, name, "train") for name in ("toy_memes", "a_news")}
        entry, tasks = get_model("smollm2-135m"), dict.fromkeys(splits, ASKED)
        return plan_feed(RECIPE.model_copy(update=fields), entry, data, splits, tasks)

    return plan


def pairs(data, plan):
    return [
        (post.post_key, task) for unit in plan.units for post in read_unit(data, unit) for task in plan.tasks_of(post)
    ]


def test_every_pair_of_post_and_task_with_a_right_answer_is_learnt(data, plan_of):
    plan = plan_of()
    assert [unit.dataset for unit in plan.units] == ["a_news"] * 2 + ["toy_memes"] * 4
    assert plan.order.unit_samples == (1, 0, 6, 5, 6, 2)
    assert plan.left_out == {"no_answer": 1}
    assert len(pairs(data, plan)) == plan.order.samples == 20
    assert plan.total_steps == 5


def test_a_recipe_narrows_datasets_tasks_and_posts(data, plan_of):
    plan = plan_of(datasets=("toy_memes",), tasks=("humor",), limit=5)
    assert pairs(data, plan) == [(f"toy_memes/train/m{number}", "humor") for number in range(4)]


def test_a_post_is_asked_what_its_dataset_is_asked(data):
    splits = {name: read_manifest(data, name, "train") for name in ("toy_memes", "a_news")}
    tasks = {"toy_memes": {"sarcasm": ASKED["sarcasm"]}, "a_news": ASKED}
    plan = plan_feed(RECIPE, get_model("smollm2-135m"), data, splits, tasks)
    assert {(key.split("/")[0], task) for key, task in pairs(data, plan)} == {
        ("toy_memes", "sarcasm"),
        ("a_news", "misinformation"),
    }


def test_posts_whose_text_stands_in_the_split_to_be_kept_apart_from_are_left_out(data, plan_of, make_meme):
    texts = {"m1": " CAPTION\n 2", "m2": "caption 3 and more", "m3": None}
    write_split(data, "toy_memes", "test", [make_meme(name, image=None, text=text) for name, text in texts.items()])
    plan = plan_of(datasets=("toy_memes",), tasks=("humor",), limit=4, apart_from="test")
    assert pairs(data, plan) == [(f"toy_memes/train/m{n}", "humor") for n in (0, 1, 3)]
    assert plan.left_out == {"text_elsewhere": 1}
    with pytest.raises(ConfigurationError, match=r"manifest\.json does not exist"):
        plan_of(datasets=("toy_memes",), apart_from="nowhere")


def test_posts_that_are_held_out_are_not_learnt(data, plan_of):
    plan = plan_of(validation=Validation(share=0.5, every_steps=1))
    learnt = {key for key, _ in pairs(data, plan)}
    assert learnt
    assert not any(is_held_out(key, 0.5) for key in learnt)
    assert plan.left_out["held_out"] + plan.order.samples + plan.left_out.get("no_answer", 0) == 21


def test_a_larger_share_holds_out_what_a_smaller_does():
    keys = [f"d/train/{number}" for number in range(2000)]
    small, large = ({key for key in keys if is_held_out(key, share)} for share in (0.1, 0.3))
    assert small < large
    assert len(large) == pytest.approx(600, abs=80)


@pytest.mark.parametrize("fields", [{"tasks": ("tagging",)}, {"datasets": ("nothing",)}])
def test_nothing_to_learn_is_refused(plan_of, fields):
    with pytest.raises(
        ConfigurationError, match=r"recipe 'tiny': nothing is left to learn in the split 'train' \(no p"
    ):
        plan_of(**fields)


def explain(data, dataset, rows, path="{dataset}/train/explanations.parquet"):
    schema = pa.schema([(name, pa.string()) for name in ("post_key", "task", "explanation", "source")])
    rows = [dict(zip(schema.names, (*row, "rule"), strict=True)) for row in rows]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    data.write(path.format(dataset=dataset), buffer.getvalue())


def test_a_pair_without_an_explanation_is_left_out_and_counted(data, plan_of):
    explain(data, "a_news", [("a_news/train/m1", "misinformation", " ")])
    explain(data, "toy_memes", [(f"toy_memes/train/m{n}", "humor", f"because {n}") for n in range(0, 10, 2)])
    plan = plan_of(target="answer_and_explanation")
    assert pairs(data, plan) == [(f"toy_memes/train/m{n}", "humor") for n in (0, 2, 6, 8)]
    assert plan.choice.explanations == {(f"toy_memes/train/m{n}", "humor"): f"because {n}" for n in (0, 2, 6, 8)}
    assert plan.left_out == {"no_answer": 1, "no_explanation": 16}


def test_shuffled_explanations_are_those_of_other_samples_of_the_training(data, plan_of):
    explain(data, "a_news", [])
    explain(data, "toy_memes", [(f"toy_memes/train/m{n}", "humor", f"because {n}") for n in range(10)])
    right = plan_of(target="answer_and_explanation", limit=8).choice.explanations
    wrong = plan_of(target="shuffled_explanation", limit=8).choice.explanations
    assert sorted(wrong.values()) == sorted(right.values())
    assert all(wrong[pair] != right[pair] for pair in right)
    assert wrong != plan_of(target="shuffled_explanation", limit=8, seed=1).choice.explanations


def test_one_file_of_explanations_may_serve_all_datasets(data, plan_of, tmp_path):
    rows = [("toy_memes/train/m1", "humor", "because"), ("a_news/train/m1", "misinformation", "so it says")]
    explain(open_storage(tmp_path), "", rows, path="of_teacher.parquet")
    plan = plan_of(target="explanation", explanations=f"{tmp_path}/of_teacher.parquet")
    assert set(pairs(data, plan)) == {row[:2] for row in rows}


def test_missing_explanations_are_refused_with_the_command_that_makes_them(data, plan_of, tmp_path):
    with pytest.raises(ConfigurationError, match=r"none.parquet does not exist. Write explanations with jobs/explain"):
        plan_of(target="explanation", explanations=f"{tmp_path}/none.parquet")


def test_a_file_that_holds_no_explanations_is_refused(data, plan_of, tmp_path):
    file = tmp_path / "other.parquet"
    pq.write_table(pa.table({"post_key": ["a"], "task": ["humor"], "explanation": [3]}), file)
    with pytest.raises(ConfigurationError, match="needs the text columns post_key, task, explanation"):
        plan_of(target="explanation", explanations=str(file))
    file.write_bytes(b"PAR1 nothing")
    with pytest.raises(ConfigurationError, match=r"other.parquet is no Parquet file of explanations"):
        plan_of(target="explanation", explanations=str(file))
