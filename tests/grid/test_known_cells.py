import dataclasses
import shutil

import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import open_storage
from mmsoc_ray.grid import ReusePolicy, plan_grid
from mmsoc_ray.grid.known_cells import Known, KnownCells


@pytest.fixture
def known(toy, toy_run):
    """What the finished run holds of a grid, by model, setting and task."""

    def known(*, root=toy_run.root, policy=ReusePolicy.same_version, limit=None, change=lambda plan: plan):
        grid = load_grid(toy_run.grid)
        cells = KnownCells(open_storage(root), policy, pytest.fail)
        found = {}
        for model in plan_grid(grid, open_storage(toy.data), limit=limit).models:
            for question, one in cells.of(change(model), seed=grid.seed, weights=None).items():
                found[model.entry.name, question.setting, question.task] = one
        return found

    return known


def test_all_cells_of_an_unchanged_grid_are_known(known):
    found = known()
    assert len(found) == 12
    assert found["tiny", "text_only", "humor"] == Known(10, "toy-1", sure=True)
    assert found["majority", "zero_shot", "misinformation"] == Known(5, "toy-1", sure=True)


def test_a_limit_takes_the_first_posts_of_what_is_known(known):
    assert {one.posts for one in known(limit=3).values()} == {3}


def test_nothing_is_known_where_nothing_may_be_reused_or_there_is_no_run(known, tmp_path):
    assert known(policy=ReusePolicy.none) == {}
    assert known(root=tmp_path / "absent") == {}


def test_another_prompt_or_limit_is_another_question(known):
    def longer(plan):
        questions = [dataclasses.replace(q, max_new_tokens=99) if q.task == "humor" else q for q in plan.questions]
        return dataclasses.replace(plan, questions=tuple(questions))

    assert {task for _, _, task in known(change=longer)} == {"sarcasm", "misinformation"}


def test_another_decoding_or_template_is_another_answerer(known):
    def other(plan):
        return dataclasses.replace(plan, entry=dataclasses.replace(plan.entry, prompt_template="{prompt}"))

    assert {model for model, _, _ in known(change=other)} == {"majority", "random"}


def test_other_data_are_another_question(known):
    def other(plan):
        memes = plan.datasets["toy_memes"].model_copy(update={"digest": "0" * 64})
        return dataclasses.replace(plan, datasets={**plan.datasets, "toy_memes": memes})

    assert {task for _, _, task in known(change=other)} == {"misinformation"}


def test_weights_that_changed_are_not_the_same_and_not_sure(known, toy, tmp_path):
    weights = tmp_path / "checkpoint"
    shutil.copytree(toy.checkpoint, weights)

    def moved(plan):
        checkpoint = str(weights) if plan.entry.checkpoint else ""
        return dataclasses.replace(plan, entry=dataclasses.replace(plan.entry, checkpoint=checkpoint))

    assert {one.sure for key, one in known(change=moved).items() if key[0] == "tiny"} == {False}


def test_an_answer_of_another_engine_version_is_known_to_any_only(known, monkeypatch):
    monkeypatch.setattr("mmsoc_ray.grid.known_cells.engine_version", lambda entry: "another")
    assert known() == {}
    assert len(known(policy=ReusePolicy.any)) == 12


def test_units_that_are_missing_are_not_known(known, copy):
    next(copy.folder.glob("model=tiny/config=*/predictions/toy_memes-test-00000-00000.parquet")).unlink()
    found = known(root=copy.root)
    assert found["tiny", "zero_shot", "humor"].posts == 6
    assert found["tiny", "zero_shot", "misinformation"].posts == 5
    assert found["majority", "zero_shot", "humor"].posts == 10


def test_a_plan_that_cannot_be_read_is_named(toy_run, copy):
    (copy.root / "runs/torn").mkdir()
    (copy.root / "runs/torn/plan.json").write_text("{")
    said: list[str] = []
    KnownCells(open_storage(copy.root), ReusePolicy.any, said.append)
    assert len(said) == 1
    assert "runs/torn/plan.json" in said[0]
