"""``grids/full.yaml``: all of MM-Soc, planned over tiny prepared data without network or checkpoints."""

import json
from pathlib import Path

import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import Post, open_storage, write_split
from mmsoc_ray.grid.plan import Cell, GridPlan, plan_grid
from mmsoc_ray.models import get_model
from mmsoc_ray.tasks import TASKS

FULL = Path(__file__).parents[2] / "grids" / "full.yaml"
SPLITS = {
    "politifact": ("test", 2),
    "gossipcop": ("test", 3),
    "hateful_memes": ("validation", 4),
    "memotion": ("test", 5),
    "youtube2000": ("test", 6),
}
TARGETS: dict[str, dict[str, tuple[str, ...]]] = {
    "politifact": {"misinformation": ("fake",)},
    "gossipcop": {"misinformation": ("true",)},
    "hateful_memes": {"hate_speech": ("hateful",)},
    "memotion": {
        "humor": ("humorous",),
        "sarcasm": ("sarcastic",),
        "offensiveness": ("offensive",),
        "sentiment": ("positive",),
        "ocr": ("words",),
    },
    "youtube2000": {"tagging": ("sports",)},
}
DESCRIBED = {"image_description": ("a cat",), "social_context": ("a joke",)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mmsoc-data")
    for dataset, (split, posts) in SPLITS.items():
        for name, count in ((split, posts), ("train", 1)):
            targets = TARGETS[dataset] | DESCRIBED
            write_split(
                open_storage(root),
                dataset,
                name,
                [Post(f"p{number}", dataset, name, text="t", targets=targets) for number in range(count)],
            )
    return root


@pytest.fixture(scope="module")
def plan(data: Path) -> GridPlan:
    return plan_grid(load_grid(FULL), open_storage(data))


def test_every_cell_of_mm_soc_is_planned_with_its_posts(plan: GridPlan) -> None:
    asked = {
        (task, dataset): posts
        for dataset, (_, posts) in SPLITS.items()
        for task in (*TARGETS[dataset], "image_description", "social_context")
    }
    assert {task for task, _ in asked} == set(TASKS)
    expected = {
        Cell(model.entry.name, "none", setting, task, dataset, SPLITS[dataset][0]): posts
        for model in plan.models
        for setting in (("zero_shot",) if model.entry.family == "baseline" else ("zero_shot", "text_only", "with_ocr"))
        for (task, dataset), posts in asked.items()
    }
    assert plan.cells() == expected


def test_the_families_of_the_authors_code_stand_in_their_published_sizes(plan: GridPlan) -> None:
    assert [model.entry.name for model in plan.models if model.entry.family != "baseline"] == [
        "llava-1.5-7b",
        "llava-1.5-13b",
        "blip2-opt-2.7b",
        "blip2-opt-6.7b-coco",
        "blip2-flan-t5-xl",
        "blip2-flan-t5-xxl",
        "instructblip-vicuna-7b",
        "instructblip-vicuna-13b",
        "instructblip-flan-t5-xl",
        "instructblip-flan-t5-xxl",
        "llama-adapter-v2-7b",
    ]


def test_each_model_gets_the_gpus_that_its_entry_asks_for(plan: GridPlan) -> None:
    assert {model.entry.name: model.resources.gpus for model in plan.models} == {
        model.entry.name: get_model(model.entry.name).gpus for model in plan.models
    }


def test_answers_are_cut_where_mm_soc_cuts_them(plan: GridPlan) -> None:
    limits = {model.entry.name: {question.max_new_tokens for question in model.questions} for model in plan.models}
    assert limits["blip2-opt-2.7b"] == limits["instructblip-flan-t5-xl"] == {128}
    assert limits["llama-adapter-v2-7b"] == {256}
    assert limits["llava-1.5-7b"] == limits["llava-1.5-13b"] == {128}


def test_the_command_plans_it_with_posts_requests_and_resources(data, mmsoc, capsys) -> None:
    assert mmsoc("plan", FULL, "--data", data, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    per_post = {dataset: len(TARGETS[dataset]) + 2 for dataset in SPLITS}
    requests = sum(posts * per_post[dataset] for dataset, (_, posts) in SPLITS.items())
    assert content["requests"]["majority"] == requests
    assert content["requests"]["llava-1.5-13b"] == 3 * requests
    resources = content["resources"]["llava-1.5-13b"]
    assert (resources["actors"], resources["cpus"], resources["gpus"], resources["threads"]) == (1, 4.0, 1.0, None)
    assert sum(cell["posts"] for cell in content["cells"]) == sum(content["requests"].values())
    assert content["needs"]["llava-1.5-13b"] == {
        "engine": "vllm",
        "dtype": "bfloat16",
        "weights_gb": 26.7,
        "gpus_of_80_gb": 1,
        "tensor_parallel": 1,
    }
    assert content["needs"]["majority"]["weights_gb"] == content["needs"]["llama-adapter-v2-7b"]["weights_gb"] == 0
    (remark,) = content["remarks"]
    assert remark.startswith("llama-adapter-v2-7b: a server answers for it; name its address")


def test_the_plan_is_read_in_a_terminal_of_eighty_columns(data, mmsoc, capsys) -> None:
    assert mmsoc("plan", FULL, "--data", data) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {tuple(line.split()) for line in lines}
    assert ("instructblip-vicuna-13b", "transformers", "1", "4", "1", "1", "28.4") in rows
    assert ("most", "at", "a", "time", "4", "1") in rows


def test_a_model_with_too_few_gpus_for_its_weights_is_remarked_on(data, tmp_path, mmsoc, capsys) -> None:
    grid = tmp_path / "grid.yaml"
    models = "models:\n  qwen3-vl-32b: {resources: {gpus: 1}}\n  qwen2-vl-72b: {resources: {gpus: 4}}\n"
    grid.write_text(f"name: g\ndata: {data}\ndatasets: {{politifact: }}\ntasks: {{misinformation: }}\n{models}")
    assert mmsoc("plan", grid, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["remarks"] == ["qwen3-vl-32b: its weights want 2 GPUs of 80 GB; resources.gpus is 1"]
    assert content["needs"]["qwen2-vl-72b"]["tensor_parallel"] == 4


def test_data_that_is_not_prepared_is_refused_with_the_remedy(tmp_path, mmsoc, capsys) -> None:
    assert mmsoc("plan", FULL, "--data", tmp_path) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}/politifact/test/manifest.json does not exist. Prepare the split (mmsoc data prepare)" in error


def test_vllm_answers_where_it_can_and_has_gpus_unless_the_grid_says_otherwise(data, tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        f"name: g\ndata: {data}\ndatasets: [politifact]\ntasks: [misinformation]\n"
        "defaults: {resources: {gpus: 1}}\n"
        "models:\n  llava-1.5-7b:\n  instructblip-vicuna-7b:\n  qwen2-vl-7b: {engine: transformers}\n"
        "  qwen2-vl-2b: {resources: {gpus: 0}}\n  qwen3-vl-2b: {engine: vllm, resources: {gpus: 0}}\n"
    )
    planned = plan_grid(load_grid(grid), open_storage(data))
    assert {model.entry.name: model.entry.engine for model in planned.models} == {
        "llava-1.5-7b": "vllm",
        "instructblip-vicuna-7b": "transformers",  # beam search
        "qwen2-vl-7b": "transformers",
        "qwen2-vl-2b": "transformers",
        "qwen3-vl-2b": "vllm",
    }
