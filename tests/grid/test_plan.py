import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmsoc_ray.config import load_grid, narrow
from mmsoc_ray.data import Post, open_storage, write_split
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.plan import Cell, GridPlan, plan_grid
from mmsoc_ray.models import get_model
from mmsoc_ray.tasks import get_task

NO_HEAVY_IMPORTS = """
import sys
from mmsoc_ray.cli import main
try:
    main(sys.argv[1:])
finally:
    print({"torch", "ray", "transformers", "rapidocr", "onnxruntime", "sklearn"} & set(sys.modules), file=sys.stderr)
"""


def planned(grid_file: Path, *, limit: int | None = None, **narrowed: tuple[str, ...]) -> GridPlan:
    grid = narrow(load_grid(grid_file), **narrowed)
    return plan_grid(grid, open_storage(grid.data), limit=limit)


@pytest.fixture
def grid(toy, tmp_path):
    return toy.grid(tmp_path / "toy.yaml")


def test_cells_are_models_by_settings_by_tasks_on_datasets_with_targets(grid):
    cells = planned(grid).cells()
    assert len(cells) == (1 + 1 + 2) * 3
    assert cells[Cell("tiny", "none", "text_only", "misinformation", "toy_news", "test")] == 5
    assert cells[Cell("majority", "none", "zero_shot", "humor", "toy_memes", "test")] == 10
    assert {(cell.task, cell.dataset) for cell in cells} == {
        ("humor", "toy_memes"),
        ("sarcasm", "toy_memes"),
        ("misinformation", "toy_news"),
    }


def test_requests_are_questions_over_posts(grid):
    requests = {model.entry.name: model.requests for model in planned(grid).models}
    assert requests == {"majority": 25, "random": 25, "tiny": 50}


def test_units_are_those_of_the_shards_once_for_all_questions(grid):
    (tiny,) = planned(grid, models=("tiny",)).models
    assert [(unit.unit_id, unit.posts) for unit in tiny.units()] == [
        ("toy_memes-test-00000-00000", 4),
        ("toy_memes-test-00000-00001", 4),
        ("toy_memes-test-00000-00002", 2),
        ("toy_news-test-00000-00000", 4),
        ("toy_news-test-00000-00001", 1),
    ]


@pytest.mark.parametrize(("limit", "memes", "news"), [(1, 1, 1), (4, 4, 4), (6, 6, 5), (99, 10, 5)])
def test_a_limit_takes_the_first_posts_of_each_dataset(grid, limit, memes, news):
    plan = planned(grid, limit=limit, models=("majority",))
    assert sorted(set(plan.cells().values())) == sorted({memes, news})
    (model,) = plan.models
    assert model.requests == 2 * memes + news
    assert sum(unit.posts for unit in model.units()) == memes + news


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(grid, limit):
    with pytest.raises(ConfigurationError, match=f"--limit {limit}: give a number of posts of at least 1"):
        planned(grid, limit=limit)


def test_a_narrowed_grid_leaves_out_datasets_without_a_question(grid):
    (model,) = planned(grid, models=("majority",), tasks=("misinformation",)).models
    assert list(model.datasets) == ["toy_news"]


def test_baselines_are_fitted_on_the_train_split_of_each_dataset(grid):
    majority, _, tiny = planned(grid).models
    assert {name: (fit.dataset, fit.split) for name, fit in majority.fit.items()} == {
        "toy_memes": ("toy_memes", "train"),
        "toy_news": ("toy_news", "train"),
    }
    assert tiny.fit == {}


def test_a_model_without_settings_of_its_own_takes_the_defaults_that_it_can_answer(toy, tmp_path):
    models = f"  tiny: {{checkpoint: {toy.checkpoint}}}\ndefaults: {{settings: [few_shots_9, text_only]}}"
    with pytest.raises(ConfigurationError, match=r"defaults\.settings: unknown setting 'few_shots_9'"):
        planned(toy.grid(tmp_path / "a.yaml", models=models))
    models = models.replace("few_shots_9, ", "")
    assert {cell.setting for cell in planned(toy.grid(tmp_path / "b.yaml", models=models)).cells()} == {"text_only"}
    with pytest.raises(
        ConfigurationError, match=r"models.majority.settings: majority can answer in none of the default"
    ):
        planned(toy.grid(tmp_path / "c.yaml", models=models.replace("  tiny", "  majority:\n  tiny")))


def write(data: Path, dataset: str, targets: list[dict[str, tuple[str, ...]]]) -> None:
    posts = [Post(f"p{number}", dataset, "test", text="t", targets=wanted) for number, wanted in enumerate(targets)]
    write_split(open_storage(data), dataset, "test", posts)


def small_grid(folder: Path, tasks: str) -> Path:
    file = folder / "small.yaml"
    file.write_text(f"name: small\ndata: {folder}/data\ndatasets: [one]\ntasks: {tasks}\nmodels: [majority]\n")
    return file


def test_a_task_that_no_dataset_has_targets_for_is_refused(tmp_path):
    write(tmp_path / "data", "one", [{"humor": ("humorous",)}])
    with pytest.raises(
        ConfigurationError, match=r"no dataset of the grid has targets for 'ocr' \(datasets: one/test\)"
    ):
        planned(small_grid(tmp_path, "[humor, ocr]"))


def test_a_task_on_a_dataset_without_its_targets_is_refused(tmp_path):
    write(tmp_path / "data", "one", [{"humor": ("humorous",)}])
    with pytest.raises(ConfigurationError, match=r"tasks.ocr.datasets: one/test has no targets for ocr. It has: humor"):
        planned(small_grid(tmp_path, "{ocr: {datasets: [one]}}"))


def test_a_dataset_with_targets_for_some_of_its_posts_only_is_refused(tmp_path):
    write(tmp_path / "data", "one", [{"humor": ("humorous",)}, {}])
    with pytest.raises(
        ConfigurationError, match=r"datasets.one: 1 of 2 posts of the split test have a target for humor"
    ):
        planned(small_grid(tmp_path, "[humor]"))


def test_a_dataset_that_is_not_prepared_is_refused_with_its_address(tmp_path):
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/data/one/test/manifest.json does not exist"):
        planned(small_grid(tmp_path, "[humor]"))


def test_a_missing_shard_is_named(tmp_path):
    write(tmp_path / "data", "one", [{"humor": ("humorous",)}])
    (tmp_path / "data/one/test/shard-00000.parquet").unlink()
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/data/one/test/shard-00000.parquet is missing"):
        planned(small_grid(tmp_path, "[humor]"))


def test_a_missing_split_to_fit_on_is_refused_before_the_run(tmp_path):
    write(tmp_path / "data", "one", [{"humor": ("humorous",)}])
    with pytest.raises(ConfigurationError, match=r"one/train/manifest\.json does not exist"):
        planned(small_grid(tmp_path, "[humor]"))


def test_the_plan_command_gives_json_without_ray_or_torch(grid):
    ended = subprocess.run(
        [sys.executable, "-c", NO_HEAVY_IMPORTS, "plan", str(grid), "--json", "--limit", "3", "--tasks", "humor"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    assert ended.stderr.strip().splitlines()[-1] == "set()"
    content = json.loads(ended.stdout)
    assert [
        {name: cell[name] for name in ("model", "task", "dataset", "setting", "posts")} for cell in content["cells"]
    ] == [
        {"model": model, "task": "humor", "dataset": "toy_memes", "setting": setting, "posts": 3}
        for model, setting in (
            ("majority", "zero_shot"),
            ("random", "zero_shot"),
            ("tiny", "zero_shot"),
            ("tiny", "text_only"),
        )
    ]
    assert content["requests"] == {"majority": 3, "random": 3, "tiny": 6}


def test_a_models_decoding_is_changed_field_by_field(toy, tmp_path):
    models = f"  blip2-opt-2.7b: {{checkpoint: {toy.checkpoint}, decoding: {{num_beams: 2}}}}"
    (model,) = planned(toy.grid(tmp_path / "a.yaml", models=models)).models
    assert model.entry.decoding == dataclasses.replace(get_model("blip2-opt-2.7b").decoding, num_beams=2)


def test_a_registered_model_with_a_folder_keeps_its_entry(toy, tmp_path):
    models = f"  blip2-opt-2.7b: {{checkpoint: {toy.checkpoint}}}"
    (model,) = planned(toy.grid(tmp_path / "a.yaml", models=models)).models
    assert model.entry == dataclasses.replace(get_model("blip2-opt-2.7b"), checkpoint=str(toy.checkpoint))


def test_a_tasks_limit_goes_before_the_models(toy, tmp_path):
    file = toy.grid(tmp_path / "a.yaml", models="  blip2-opt-2.7b:\n  llava-1.6-vicuna-7b:")
    file.write_text(file.read_text().replace("  sarcasm: {max_new_tokens: 3}", "  sarcasm:"))
    blip, llava = planned(file).models
    assert [q.max_new_tokens for q in blip.questions if q.task in ("humor", "sarcasm")] == [3, 128]
    assert [q.max_new_tokens for q in llava.questions if q.task == "sarcasm"] == [get_task("sarcasm").max_new_tokens]


def test_units_that_may_take_most_answers_come_first(grid):
    (tiny,) = planned(grid, models=("tiny",)).models
    in_turn = [(unit.dataset, unit.posts) for unit in tiny.longest_first(tiny.units())]
    # Memes are asked two tasks, news one, each in two settings and with answers of three tokens.
    assert in_turn == [("toy_memes", 4), ("toy_memes", 4), ("toy_memes", 2), ("toy_news", 4), ("toy_news", 1)]
    assert [unit.dataset for unit in tiny.longest_first(reversed(tiny.units()))][-1] == "toy_news"
