from pathlib import Path

import pytest

from mmsoc_ray.config import Grid, load_grid, narrow
from mmsoc_ray.errors import ConfigurationError

GRID = """\
name: toy
data: somewhere
datasets: [memes]
tasks: [humor, sarcasm]
training:
  finetuned: plain.yaml
  finetuned_explained: explained.yaml
models:
  majority:
  demo-llava: {settings: [zero_shot, finetuned, finetuned_explained]}
  smollm2-135m: {settings: [text_only, finetuned], training: {finetuned: own.yaml}}
"""
RECIPE = "name: {name}\nlearning_rate: 1.0e-3\nepochs: 1\nbatch: 8\n"


def load(folder: Path, text: str, plain: str = "") -> Grid:
    (folder / "plain.yaml").write_text(RECIPE.format(name="plain") + plain)
    (folder / "own.yaml").write_text(RECIPE.format(name="own") + "base: smollm2-135m\n")
    (folder / "explained.yaml").write_text(RECIPE.format(name="explained") + "target: answer_and_explanation\n")
    (folder / "grid.yaml").write_text(text)
    return load_grid(folder / "grid.yaml")


def test_a_model_is_trained_by_its_own_recipe_else_by_the_grids(tmp_path):
    grid = load(tmp_path, GRID)
    assert grid.recipe("demo-llava", "finetuned").name == "plain"
    assert grid.recipe("demo-llava", "finetuned_explained").name == "explained"
    assert grid.recipe("smollm2-135m", "finetuned").name == "own"


def test_what_a_recipe_learns_does_not_depend_on_what_is_asked_now(tmp_path):
    grid = load(tmp_path, GRID)
    narrowed = narrow(narrow(grid, tasks=("humor",)), models=("demo-llava",))
    assert list(narrowed.whole.tasks) == ["humor", "sarcasm"]
    assert grid.whole is grid


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  finetuned: plain.yaml\n",
            "",
            ":9: models.demo-llava.settings: finetuned needs a recipe. Add to the grid: ",
        ),
        ("plain.yaml", "gone.yaml", ":6: training.finetuned: {folder}/gone.yaml: cannot be read"),
        ("  finetuned: plain", "  finetuned: explained", ":6: training.finetuned: {folder}/explained.yaml learns expl"),
        ("  finetuned: plain", "  finetuned: own", ":6: training.finetuned: recipe own is for smollm2-135m, not for"),
        ("  finetuned: plain", "  tuned: plain", ":6: training.tuned: Input should be 'finetuned' or 'finetuned_expla"),
        ("majority:", "majority: {settings: [finetuned]}", ":9: models.majority.settings: majority is a baseline, whi"),
        (
            "majority:",
            "majority: {training: {finetuned: plain.yaml}}",
            ":9: models.majority.training: majority is a baseline, which has no weights to train. Remove the field.",
        ),
        (
            "majority:",
            "served: {endpoint: {url: 'http://h/v1'}, settings: [finetuned]}",
            ":9: models.served.settings: served is answered for by a server, whose weights are not here: it cannot",
        ),
    ],
)
def test_a_training_that_cannot_be_is_refused_at_its_field(old, new, message, tmp_path):
    assert old in GRID
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GRID.replace(old, new, 1))
    assert str(caught.value).removeprefix(f"{tmp_path}/grid.yaml").startswith(message.format(folder=tmp_path))
    assert "\n" not in str(caught.value)


def test_a_recipe_is_held_to_the_names_of_its_grid(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"recipe plain: unknown task of this grid 'humour'. Did you mean 'humo"
    ):
        load(tmp_path, GRID, "tasks: [humour]\n")


def test_an_error_inside_a_recipe_names_its_own_line(tmp_path):
    with pytest.raises(ConfigurationError, match=r"grid.yaml:6: training.finetuned: .*plain.yaml:5: rank: .*\(got 0\)"):
        load(tmp_path, GRID, "rank: 0\n")


def test_baselines_pass_over_a_fine_tuned_default(tmp_path):
    defaults = "defaults: {settings: [zero_shot, finetuned]}\n"
    grid = load(tmp_path, GRID.replace("models:", defaults + "models:"))
    assert grid.models["majority"].settings is None
