import shutil

import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import open_storage, write_split
from mmsoc_ray.grid import plan_grid
from mmsoc_ray.grid.adapters import needed_adapters, with_adapters
from mmsoc_ray.grid.plan import without_adapters

RECIPE = "name: {method}\nmethod: {method}\nlearning_rate: 1.0e-3\nepochs: 1\nbatch: 4\n"
METHODS = ("lora", "rslora", "lora_plus", "pissa", "dora", "full", "projector")


@pytest.fixture
def plan(toy, tmp_path):
    """Plan one model with a recipe for ``finetuned``."""

    def planned(method, engine="transformers", recipe="", settings="zero_shot, finetuned", data=toy.data):
        (tmp_path / "recipe.yaml").write_text(RECIPE.format(method=method) + recipe)
        (tmp_path / "grid.yaml").write_text(
            f"name: toy\ndata: {data}\ndatasets: [toy_memes]\ntasks: [humor]\n"
            "training: {finetuned: recipe.yaml}\n"
            f"models: {{tiny: {{checkpoint: {toy.checkpoint}, engine: {engine}, settings: [{settings}]}}}}\n"
        )
        return plan_grid(load_grid(tmp_path / "grid.yaml"), open_storage(data))

    return planned


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("engine", "merged"), [("transformers", METHODS[5:]), ("vllm", METHODS[4:])])
def test_what_an_engine_does_not_have_beside_its_base_answers_in_a_pipeline_of_its_own(plan, method, engine, merged):
    keys = [model.key for model in plan(method, engine).models]
    assert keys == (["tiny", "tiny@finetuned"] if method in merged else ["tiny"])


@pytest.mark.parametrize(("engine", "keys"), [("vllm", ["tiny", "tiny@finetuned"]), ("transformers", ["tiny"])])
def test_layers_named_one_by_one_may_be_the_picture_encoders_which_vllm_leaves_out(plan, engine, keys):
    assert [model.key for model in plan("lora", engine, "targets: [q_proj]\n").models] == keys


def test_a_merged_adapter_alone_needs_no_pipeline_of_the_base(plan):
    assert [model.key for model in plan("full", settings="finetuned").models] == ["tiny@finetuned"]


def test_every_pipeline_has_the_cells_of_its_own_questions(plan):
    cells = [list(model.cells()) for model in plan("full").models]
    assert [[(cell.model, cell.setting) for cell in of_model] for of_model in cells] == [
        [("tiny", "zero_shot")],
        [("tiny", "finetuned")],
    ]


def test_without_adapters_only_the_base_models_questions_stay(plan):
    assert [cell.setting for cell in without_adapters(plan("lora")).cells()] == ["zero_shot"]
    assert not without_adapters(plan("lora", settings="finetuned")).models


def test_questions_carry_the_adapters_full_name_once_its_base_is_known(plan, toy, tmp_path):
    planned, data, root = plan("lora"), open_storage(toy.data), open_storage(tmp_path / "out")
    assert [model.adapters[0].name for model in planned.models] == ["lora"]
    needed = needed_adapters(planned, data, root, resolve=True)
    (adapter,) = with_adapters(planned, needed).models[0].adapters
    assert adapter.name == needed[0].job.name
    assert adapter.name.startswith("lora-")
    assert adapter.digest == ""


@pytest.mark.parametrize("line", ["split: dev", "rank: 3", "seed: 1"])
def test_another_recipe_or_other_data_make_another_adapter(plan, toy, tmp_path, line, make_meme):
    shutil.copytree(toy.data, tmp_path / "data")
    data, root = open_storage(tmp_path / "data"), open_storage(tmp_path / "out")
    write_split(data, "toy_memes", "dev", [make_meme("m30", "dev")])
    plans = [plan("lora", recipe=extra, data=tmp_path / "data") for extra in ("", line)]
    first, second = (needed_adapters(planned, data, root, resolve=True) for planned in plans)
    assert first[0].adapter.name != second[0].adapter.name


def test_how_a_step_is_computed_makes_no_other_adapter(plan, toy, tmp_path):
    data, root = open_storage(toy.data), open_storage(tmp_path / "out")
    first, second = (
        needed_adapters(plan("lora", recipe=extra), data, root, resolve=True)
        for extra in ("", "workers: 2\nmicro_batch: 2\n")
    )
    assert first[0].adapter.name == second[0].adapter.name
