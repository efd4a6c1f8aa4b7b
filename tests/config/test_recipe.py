from pathlib import Path

import pytest

from mmsoc_ray.config import Recipe, load_recipe
from mmsoc_ray.config.recipe import LOW_RANK_METHODS
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models import model_names
from mmsoc_ray.tasks import TASKS

RECIPE = """\
name: toy
method: lora
rank: 8
targets: [q_proj, v_proj]
learning_rate: 1.0e-4
epochs: 1
batch: 8
micro_batch: 2
workers: [1, 4]
validation: {share: 0.1, every_steps: 5}
target: answer
"""


def load(folder: Path, text: str) -> Recipe:
    file = folder / "recipe.yaml"
    file.write_text(text)
    return load_recipe(file)


def test_a_recipe_reads_as_it_is_written(tmp_path):
    recipe = load(tmp_path, RECIPE)
    assert (recipe.rank, recipe.targets, recipe.worker_range) == (8, ("q_proj", "v_proj"), (1, 4))
    assert recipe.validation is not None
    assert (recipe.validation.share, recipe.validation.posts) == (0.1, 200)
    assert (recipe.low_rank, recipe.explained) == (True, False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rank: 8", "rnak: 8", ":3: rnak: unknown field 'rnak'. Did you mean 'rank'?"),
        ("rank: 8", "rank: 0", ":3: rank: Input should be greater than or equal to 1 (got 0)"),
        ("method: lora", "method: qlora", ":2: method: Input should be 'lora', 'rslora', 'dora', 'pissa', 'lora_plus'"),
        ("method: lora", "method: full", ":3: rank: the method full has none. Remove it, or take one of lora, "),
        ("[q_proj, v_proj]", "all", ":4: targets: is all_linear, attention, or a list of ends of module names"),
        ("[q_proj, v_proj]", "[]", ":4: targets: is all_linear, attention, or a list"),
        ("[q_proj, v_proj]", "['a|b']", ":4: targets: is all_linear, attention, or a list"),
        ("1.0e-4", ".inf", ":5: learning_rate: "),
        ("epochs: 1", "", ":1: epochs: the recipe says not how long to train."),
        ("epochs: 1", "epochs: 1\nsteps: 4", ":7: steps: 1 epochs are named too. Keep one of the two."),
        ("micro_batch: 2", "micro_batch: 9", ":8: micro_batch: 9 is more than the 8 samples of a step."),
        ("[1, 4]", "[4, 1]", ":9: workers: is one number, or two in order: [least, most]"),
        ("[1, 4]", "0", ":9: workers: is a number of processes from 1"),
        ("[1, 4]", "9", ":9: workers: 9 workers cannot share the 8 samples of a step."),
        ("[1, 4]", "1\nsharding: fsdp", ":10: sharding: one worker has nobody to share with."),
        ("{share: 0.1, every", "{every", ":10: validation: name either a split or a share of the training posts"),
        ("target: answer", "explanations: a.parquet", ":11: explanations: the target answer learns none."),
        ("target: answer", "lora_plus_ratio: 4", ":11: lora_plus_ratio: the method is lora. Remove it, or"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named_with_its_line(tmp_path, old, new, message):
    assert old in RECIPE
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, RECIPE.replace(old, new, 1))
    assert str(caught.value).removeprefix(f"{tmp_path}/recipe.yaml").startswith(message)


def test_how_a_step_is_computed_does_not_enter_what_a_recipe_is(tmp_path):
    spread = RECIPE.replace("[1, 4]", "2\nthreads: 1\ncheckpoint_every: 3\ncpus_per_worker: 2").replace(
        "micro_batch: 2", "micro_batch: 4"
    )
    assert load(tmp_path, spread).content() == load(tmp_path, RECIPE).content()


def test_whatever_is_learnt_enters_what_a_recipe_is(tmp_path):
    before = load(tmp_path, RECIPE).content()
    changes = [("rank: 8", "rank: 9"), ("1.0e-4", "2.0e-4"), ("share: 0.1", "share: 0.2"), ("batch: 8", "batch: 9")]
    for old, new in changes:
        assert load(tmp_path, RECIPE.replace(old, new, 1)).content() != before


def test_an_explanations_file_counts_by_its_digest_and_not_by_its_place(tmp_path):
    explained = RECIPE.replace("target: answer", "target: explanation")
    assert load(tmp_path, explained + "explanations: a.parquet\n").content() == load(tmp_path, explained).content()


RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def test_the_recipes_of_the_repository_are_valid_and_named_after_their_files():
    assert {"demo_lora", "demo_lora_explained", "mmsoc_standard", "mmsoc_explained"} <= {file.stem for file in RECIPES}
    for file in RECIPES:
        assert load_recipe(file).name == file.stem


def test_the_recipes_for_a_model_name_one_of_the_registry():
    assert {load_recipe(file).base for file in RECIPES} - {None} <= set(model_names())


def test_the_tasks_of_the_recipes_are_built_in():
    assert {task for file in RECIPES for task in load_recipe(file).tasks or ()} <= set(TASKS)


def test_singapores_five_variants_have_the_published_hyper_parameters():
    variants = [load_recipe(file) for file in RECIPES if file.stem.startswith("singapore_")]
    assert {recipe.method for recipe in variants} == set(LOW_RANK_METHODS)
    for recipe in variants:
        assert (recipe.rank, recipe.alpha, recipe.dropout, recipe.targets) == (128, 256, 0, "all_linear")
        assert (recipe.learning_rate, recipe.schedule, recipe.warmup, recipe.epochs) == (1e-4, "cosine", 0.1, 1)
        assert (recipe.precision, recipe.batch, recipe.context_tokens, recipe.seed) == ("float16", 128, 6144, 42)


def test_what_explanations_add_to_a_recipe_is_the_target_alone():
    for plain, explained in (
        ("demo_lora", "demo_lora_explained"),
        ("demo_text", "demo_text_explained"),
        ("mmsoc_standard", "mmsoc_explained"),
    ):
        contents = [load_recipe(RECIPES[0].with_stem(name)).content() for name in (plain, explained)]
        assert {key for key in contents[0] if contents[0][key] != contents[1][key]} == {"name", "target"}
