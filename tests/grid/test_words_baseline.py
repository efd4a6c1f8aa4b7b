"""The baseline of words in a grid: which tasks it is asked, and what enters the keys of its answers."""

import dataclasses

import pytest

from mmsoc_ray.config import load_grid, narrow
from mmsoc_ray.data import Post, open_storage, read_manifest, write_split
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid import plan_grid
from mmsoc_ray.grid.answer import open_answerer
from mmsoc_ray.grid.answerer import resolve_answerer
from mmsoc_ray.grid.plan import ModelPlan
from mmsoc_ray.grid.prepare import prepare_unit

GRID = "name: words\ndata: {data}\ndatasets: [tweets]\ntasks: [sarcasm, tagging]\nmodels: [tfidf_logreg]\n"
GRID += "defaults: {{settings: [text_only]}}\n"


def posts(split: str, texts: list[str]) -> list[Post]:
    labels = ("sarcastic", "not_sarcastic")
    return [
        Post(f"{split}{at}", "tweets", split, text=text, targets={"sarcasm": (labels[at % 2],), "tagging": ("a",)})
        for at, text in enumerate(texts)
    ]


@pytest.fixture
def plan(tmp_path):
    """Plan the baseline on two tweets."""
    data = open_storage(tmp_path / "data")
    write_split(
        data, "tweets", "train", posts("train", ["oh great", "at noon", "so great", "bus at noon", "same", "no"])
    )
    write_split(data, "tweets", "test", posts("test", ["great", "noon"]))
    (tmp_path / "grid.yaml").write_text(GRID.format(data=tmp_path / "data"))

    def planned(*tasks: str) -> ModelPlan:
        (model,) = plan_grid(narrow(load_grid(tmp_path / "grid.yaml"), tasks=tasks or None), data).models
        return model

    return planned


def test_it_is_asked_tasks_with_labels_only(plan):
    assert {question.task for question in plan().questions} == {"sarcasm"}
    with pytest.raises(ConfigurationError, match="tfidf_logreg answers tasks of the kind classification only"):
        plan("tagging")


def test_it_answers_from_the_words_of_the_fit_split(plan, tmp_path):
    model, data = plan(), open_storage(tmp_path / "data")
    answerer = resolve_answerer(model, seed=0)
    unit = next(iter(model.units()))
    prepared = prepare_unit(unit, posts("test", ["great", "noon"]), model.questions, answerer, lambda *_: [])
    answer = open_answerer("run", answerer, data, model.fit, threads=1, tasks=model.tasks, evaluated=model.datasets)
    assert answer(prepared).column("output").to_pylist() == ["sarcastic", "not_sarcastic"]


def test_fit_and_evaluated_split_enter_its_keys(plan, tmp_path):
    model, data = plan(), open_storage(tmp_path / "data")
    write_split(data, "tweets", "other", posts("other", ["same", "word"]))
    other = read_manifest(data, "tweets", "other")
    contents = [
        resolve_answerer(changed, seed=0).content("tweets")["fit"]
        for changed in (
            model,
            dataclasses.replace(model, fit={"tweets": other}),
            dataclasses.replace(model, datasets={"tweets": other}),
        )
    ]
    assert len(set(contents)) == 3
