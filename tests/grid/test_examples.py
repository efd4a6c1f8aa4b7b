"""Few-shot examples on their way through plan, keys and prompts."""

import dataclasses
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import open_storage, read_unit, write_split
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.answerer import Answerer, configuration
from mmsoc_ray.grid.examples import choose_examples, load_pictures, write_pictures
from mmsoc_ray.grid.keys import digest
from mmsoc_ray.grid.plan import GridPlan, Question, plan_grid
from mmsoc_ray.grid.prepare import prepare_unit
from mmsoc_ray.grid.run_folder import RunFolder


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
        assert len(row["places"]) == (4 if few else 1)
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


def rows_of(plan: GridPlan, toy: Any) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Prepare the first unit of the first model."""
    model = plan.models[0]
    unit = model.units()[0]
    posts = read_unit(open_storage(toy.data), unit)
    answerer = Answerer(model.entry, "float32", "digest", {}, 0)
    prepared = prepare_unit(unit, posts, model.questions_on(unit.dataset), answerer, lambda unit, posts: [])
    return {(row["post_key"], row["setting"], row["task"]): row for row in prepared.requests}


def test_another_example_picture_changes_the_keys_of_its_setting_only(planned, toy):
    plan = planned("[few_shot_1, few_shot_2, zero_shot, text_only]")
    (model,) = plan.models

    def changed(question: Question) -> Question:
        if (question.task, question.setting) != ("humor", "few_shot_2"):
            return question
        first, second = question.examples
        return dataclasses.replace(question, examples=(first, dataclasses.replace(second, image_sha256="other")))

    other = dataclasses.replace(model, questions=tuple(map(changed, model.questions)))
    rows, others = rows_of(plan, toy), rows_of(dataclasses.replace(plan, models=(other,)), toy)
    different = {key[1:] for key in rows if rows[key]["row_key"] != others[key]["row_key"]}
    assert different == {("few_shot_2", "humor")}
    assert {row["prompt"] for row in rows.values()} == {row["prompt"] for row in others.values()}


def test_examples_are_the_same_for_every_post(planned, toy):
    heads = {}
    for (_, setting, task), row in rows_of(planned("[few_shot_2]"), toy).items():
        heads.setdefault((setting, task), set()).add((row["prompt"][: row["places"][-1]], *row["example_images"]))
    assert heads
    assert all(len(head) == 1 for head in heads.values())


def test_a_model_of_one_picture_gets_texts(planned, toy):
    (model,) = planned("[few_shot_2]", "  blip2-opt-2.7b: {settings: [few_shot_2]}").models[1:]
    assert not model.entry.several_pictures
    assert {example.image_sha256 for question in model.questions for example in question.examples} == {None}
    own = "{endpoint: {url: http://x/v1}, settings: [few_shot_2], several_pictures: true}"
    (told,) = planned("[few_shot_2]", f"  own: {own}").models[1:]
    assert None not in {example.image_sha256 for question in told.questions for example in question.examples}


def test_an_example_whose_picture_is_broken_stays_a_text(toy, tmp_path, make_meme):
    data = open_storage(tmp_path / "data")
    write_split(data, "toy_memes", "test", toy.memes[:1])
    images = {"m20": None, "m21": b"no picture", "m22": toy.memes[0].image}
    write_split(data, "toy_memes", "train", [make_meme(name, "train", image=image) for name, image in images.items()])
    (tmp_path / "grid.yaml").write_text(
        f"name: broken\ndata: {data.uri}\ndatasets: [toy_memes]\ntasks: [sarcasm]\n"
        f"models: {{tiny: {{checkpoint: {toy.checkpoint}, settings: [few_shot_3]}}}}\n"
    )
    plan = choose_examples(plan_grid(load_grid(tmp_path / "grid.yaml"), data), data, lambda text: None)
    (question,) = plan.models[0].questions
    shown = {example.post_key.rpartition("/")[2]: example.image_sha256 is not None for example in question.examples}
    assert shown == {"m20": False, "m21": False, "m22": True}
    assert list(plan.example_pictures.values()) == [toy.memes[0].image]


def test_example_pictures_wait_beside_the_run_and_are_bounded_when_loaded(planned, tmp_path):
    plan, root, folder = planned("[few_shot_2]"), open_storage(tmp_path / "out"), RunFolder("run")
    questions = plan.models[0].questions
    write_pictures(root, folder, plan, questions)
    pictures = load_pictures(root, folder, questions, max_side=16)
    assert set(pictures) == set(plan.example_pictures)
    assert {picture.shape for picture in pictures.values()} == {(12, 16, 3)}
    root.write(folder.example_picture(next(iter(pictures))), b"another")
    with pytest.raises(RuntimeError, match="is not the picture of its digest"):
        load_pictures(root, folder, questions, max_side=16)


def test_a_few_shot_run_ends_with_a_row_for_each_question(toy, ray_session, mmsoc, tmp_path):
    models = f"  tiny: {{checkpoint: {toy.checkpoint}, settings: [few_shot_1], dtype: float32}}"
    grid = toy.grid(tmp_path / "grid.yaml", models=models)
    assert mmsoc("run", grid, "--output", tmp_path / "out", "--limit", "2") == 0
    (folder,) = tmp_path.glob("out/runs/*/model=tiny/config=*/predictions")
    rows = pq.read_table(folder).to_pylist()
    assert len(rows) == 6
    assert all(row["prompt"].startswith("Example 1:\n") for row in rows)
    assert not any(row["error"] for row in rows)
    assert list(tmp_path.glob("out/runs/*/examples/*"))
    results = pq.read_table(tmp_path / "out" / "results").to_pylist()
    assert {row["setting"] for row in results} == {"few_shot_1"}
    assert mmsoc("verify", tmp_path / "out/runs/toy") == 0
