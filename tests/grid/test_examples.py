"""Few-shot examples on their way through plan, keys and prompts."""

import dataclasses

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import open_storage, read_unit
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.answerer import Answerer, configuration
from mmsoc_ray.grid.examples import choose_examples
from mmsoc_ray.grid.keys import digest
from mmsoc_ray.grid.plan import GridPlan, plan_grid
from mmsoc_ray.grid.prepare import prepare_unit


@pytest.fixture
def planned(toy, tmp_path):
    """Plan the toy grid for the tiny model with few-shot settings, examples chosen."""

    def plan(settings: str = "[few_shot_3]", further: str = "", *, choose: bool = True) -> GridPlan:
        models = f"  tiny: {{checkpoint: {toy.checkpoint}, settings: {settings}, dtype: float32}}\n{further}"
        data = open_storage(toy.data)
        planned = plan_grid(load_grid(toy.grid(tmp_path / "grid.yaml", models=models)), data)
        return choose_examples(planned, data, lambda text: None) if choose else planned

    return plan


def test_every_question_of_a_few_shot_setting_has_its_examples_from_the_fit_split(planned):
    (model,) = planned("[few_shot_3, zero_shot]").models
    for question in model.questions:
        shown = [example.post_key for example in question.examples]
        assert len(shown) == (3 if question.setting == "few_shot_3" else 0)
        assert all(key.startswith(f"{question.dataset}/train/") for key in shown)


def test_a_split_is_read_once_for_all_models_and_tasks(planned, toy, monkeypatch):
    plan = planned(choose=False)
    twice = dataclasses.replace(plan, models=plan.models * 2)
    read = []
    choose_examples(twice, open_storage(toy.data), read.append)
    assert read == ["choosing examples from toy_memes/train", "choosing examples from toy_news/train"]


def test_examples_enter_the_configuration_and_nothing_else_changes_it(planned):
    def config(*arguments: str) -> str:
        (model,) = planned(*arguments).models
        answerer = Answerer(model.entry, "float32", "digest", {}, 0)
        return digest(configuration(model, answerer, words_digest=None))

    assert config() == config()
    assert config("[few_shot_3]", "seed: 4") != config()
    assert config("[zero_shot]", "seed: 4") == config("[zero_shot]")


def test_examples_stand_in_the_prompt_and_so_in_the_key(planned, toy):
    (model,) = planned("[few_shot_3, zero_shot]").models
    (other,) = planned("[few_shot_3, zero_shot]", "seed: 4").models
    unit = model.units()[0]
    posts = read_unit(open_storage(toy.data), unit)
    rows, others = (
        {
            (row["post_key"], row["setting"], row["task"]): row
            for row in prepare_unit(
                unit,
                posts,
                planned.questions_on(unit.dataset),
                Answerer(planned.entry, "float32", "digest", {}, 0),
                lambda unit, posts: [],
            ).requests
        }
        for planned in (model, other)
    )
    for key, row in rows.items():
        few = key[1] == "few_shot_3"
        assert row["prompt"].count("Example ") == (3 if few else 0)
        assert row["prompt"].endswith(rows[key[0], "zero_shot", key[2]]["prompt"])
        assert row["with_image"]
        assert (row["row_key"] != others[key]["row_key"]) == few


def test_the_evaluated_split_gives_no_examples(planned):
    with pytest.raises(ConfigurationError, match=r"datasets.toy_memes.fit_split: 'test' is also the split"):
        planned("[few_shot_3]", "defaults: {fit_split: test}")


def test_a_split_with_too_few_posts_is_refused_before_it_is_read(planned):
    with pytest.raises(ConfigurationError, match=r"toy_news.fit_split: 'train' has 4 posts .* few_shot_5 takes 5"):
        planned("[few_shot_5]", choose=False)


def test_a_baseline_takes_no_examples(planned):
    with pytest.raises(ConfigurationError, match=r"majority cannot answer in the setting 'few_shot_2'"):
        planned("[few_shot_2]", "  majority: {settings: [few_shot_2]}")


def test_a_model_that_sees_nothing_is_shown_the_texts(planned, toy):
    (model,) = planned("[few_shot_2, text_only]").models
    blind = dataclasses.replace(model.entry, sees_pictures=False)
    unit = model.units()[0]
    prepared = prepare_unit(
        unit,
        read_unit(open_storage(toy.data), unit),
        model.questions_on(unit.dataset),
        Answerer(blind, "float32", "digest", {}, 0),
        lambda unit, posts: [],
    )
    prompts = {(row["post_key"], row["task"], row["setting"]): row["prompt"] for row in prepared.requests}
    for (post, task, setting), prompt in prompts.items():
        assert prompt.endswith(prompts[post, task, "text_only"]), setting


def test_a_few_shot_run_ends_with_a_row_for_each_question(toy, ray_session, mmsoc, tmp_path):
    models = f"  tiny: {{checkpoint: {toy.checkpoint}, settings: [few_shot_1], dtype: float32}}"
    grid = toy.grid(tmp_path / "grid.yaml", models=models)
    assert mmsoc("run", grid, "--output", tmp_path / "out", "--limit", "2") == 0
    (folder,) = tmp_path.glob("out/runs/*/model=tiny/config=*/predictions")
    rows = pq.read_table(folder).to_pylist()
    assert len(rows) == 6
    assert all(row["prompt"].startswith("Example 1 (its picture is not shown):") for row in rows)
    results = pq.read_table(tmp_path / "out" / "results").to_pylist()
    assert {row["setting"] for row in results} == {"few_shot_1"}
