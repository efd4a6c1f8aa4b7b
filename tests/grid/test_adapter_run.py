"""A run with fine-tuned cells over adapters that are stored already: base and adapters answer in one engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import peft
import pyarrow.parquet as pq
import pytest
import torch
import transformers

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import open_storage
from mmsoc_ray.grid import plan_grid
from mmsoc_ray.grid.adapters import needed_adapters
from mmsoc_ray.models.digests import combined_digest
from mmsoc_ray.training import AdapterCard, TrainingJob, write_adapter
from mmsoc_ray.training.adapters import file_digests

GRID = """\
name: tuned
data: {data}
datasets: [toy_memes]
tasks:
  humor: {{max_new_tokens: 3}}
  sarcasm: {{max_new_tokens: 3}}
training: {{finetuned: plain.yaml}}
models:
  majority:
  tiny: {{checkpoint: {checkpoint}, settings: [zero_shot, {settings}], dtype: float32}}
"""
RECIPE = "name: plain\nlearning_rate: 1.0e-3\nepochs: 1\nbatch: 4\n"


def write_grid(toy: Any, folder: Path, settings: str = "finetuned", recipe: str = RECIPE) -> Path:
    (folder / "plain.yaml").write_text(recipe)
    (folder / "grid.yaml").write_text(GRID.format(data=toy.data, checkpoint=toy.checkpoint, settings=settings))
    return folder / "grid.yaml"


def job_of(grid: Path, toy: Any, root: Path) -> TrainingJob:
    data = open_storage(toy.data)
    (needed,) = needed_adapters(plan_grid(load_grid(grid), data), data, open_storage(root), resolve=True)
    assert needed.job is not None
    return needed.job


def card_of(job: TrainingJob, folder: Path) -> AdapterCard:
    files = file_digests(folder)
    return AdapterCard(
        name=job.name,
        model=job.entry.name,
        method=job.recipe.method,
        rank=4,
        alpha=16,
        digest=combined_digest(files),
        base_digest=job.base_digest,
        data_digest=job.data_digest,
        recipe=job.recipe.content(),
        recipe_name=job.recipe.name,
        code_version={},
        samples=7,
        left_out={},
        steps=2,
        epochs=1.0,
        best_step=2,
        curves=(),
        created_at="2026-11-22T00:00:00Z",
        files=files,
    )


def store_adapter(root: Path, job: TrainingJob, folder: Path, seed: int = 1) -> AdapterCard:
    """Store an adapter with random weights as a training would."""
    library: Any = transformers
    model = library.AutoModelForImageTextToText.from_pretrained(job.entry.checkpoint, dtype=torch.float32)
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules=r".*language_model.*\.(q_proj|v_proj)", init_lora_weights=False
    )
    peft.get_peft_model(model, config).save_pretrained(folder)
    return write_adapter(open_storage(root), card_of(job, folder), folder)


def rows(root: Path, run_id: str) -> list[dict[str, Any]]:
    files = sorted((root / "runs" / run_id).rglob("predictions/*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def test_a_grid_lacks_its_adapters_until_they_are_trained(toy, mmsoc, tmp_path, capsys):
    grid, root = write_grid(toy, tmp_path), tmp_path / "out"
    assert mmsoc("run", grid, "--output", root) == 2
    name = job_of(grid, toy, root).name
    assert f"/adapters lacks {name} (finetuned of tiny). Add --with-training" in capsys.readouterr().err
    assert not (root / "runs").exists()


def test_the_plan_shows_which_adapters_exist(toy, mmsoc, tmp_path, capsys):
    grid, root = write_grid(toy, tmp_path), tmp_path / "out"
    job = job_of(grid, toy, root)
    assert mmsoc("plan", grid, "--output", root, "--json") == 0
    before = json.loads(capsys.readouterr().out)
    assert [(one["adapter"], one["trained"]) for one in before["adapters"]] == [(job.name, False)]
    store_adapter(root, job, tmp_path / "adapter")
    assert mmsoc("plan", grid, "--output", root) == 0
    assert f"finetuned lora {job.name} trained" in " ".join(capsys.readouterr().out.split())


@pytest.fixture(scope="module")
def tuned(toy, ray_session, mmsoc, tmp_path_factory) -> tuple[Path, TrainingJob, AdapterCard]:
    """A finished run in a root where the base model has answered before, without any adapter."""
    folder = tmp_path_factory.mktemp("tuned")
    root = folder / "out"
    (folder / "base").mkdir()
    base = write_grid(toy, folder / "base", "text_only")
    base.write_text(base.read_text().replace("training: {finetuned: plain.yaml}\n", ""))
    assert mmsoc("run", base, "--output", root, "--run-id", "base-1") == 0
    grid = write_grid(toy, folder)
    job = job_of(grid, toy, root)
    card = store_adapter(root, job, folder / "adapter")
    assert mmsoc("run", grid, "--output", root, "--run-id", "tuned-1") == 0
    return root, job, card


def test_fine_tuned_rows_name_their_adapter_and_all_else_is_the_base_models(tuned):
    root, job, _ = tuned
    found = rows(root, "tuned-1")
    assert {(row["model"], row["setting"], row["adapter"]) for row in found} == {
        ("majority", "zero_shot", "none"),
        ("tiny", "zero_shot", "none"),
        ("tiny", "finetuned", job.name),
    }
    outputs = {(row["setting"], row["post_key"], row["task"]): row["output"] for row in found if row["model"] == "tiny"}
    pairs = [(outputs["zero_shot", *key], said) for (setting, *key), said in outputs.items() if setting == "finetuned"]
    assert any(base != tuned for base, tuned in pairs if base is not None)


def test_answers_of_the_base_model_keep_their_keys_beside_adapters(tuned):
    root, _, _ = tuned
    keys = {
        run: {row["row_key"] for row in rows(root, run) if row["setting"] == "zero_shot"}
        for run in ("base-1", "tuned-1")
    }
    assert keys["base-1"] == keys["tuned-1"]
    taken = [row for row in rows(root, "tuned-1") if row["setting"] == "zero_shot" and row["error"] is None]
    assert {row["reused_from"] for row in taken} == {"base-1"}
    fine_tuned = {row["row_key"] for row in rows(root, "tuned-1") if row["setting"] == "finetuned"}
    assert not fine_tuned & keys["base-1"]


def test_the_prompts_are_those_of_zero_shot(tuned):
    root, _, _ = tuned
    prompts: dict[str, dict[tuple[str, str], str]] = {"zero_shot": {}, "finetuned": {}}
    for row in rows(root, "tuned-1"):
        if row["model"] == "tiny":
            prompts[row["setting"]][row["post_key"], row["task"]] = (row["prompt"], row["image_sha256"])
    assert prompts["zero_shot"] == prompts["finetuned"]


def test_a_fine_tuned_run_holds_what_it_claims_and_is_taken_over_whole(tuned, mmsoc, tmp_path, capsys):
    root, job, _ = tuned
    assert mmsoc("verify", f"{root}/runs/tuned-1") == 0
    grid = next(root.parent.glob("grid.yaml"))
    capsys.readouterr()
    assert mmsoc("run", grid, "--output", root, "--run-id", "tuned-2") == 0
    assert "no engine was called" in " ".join(capsys.readouterr().out.split())
    cells = sorted(
        path.relative_to(root / "runs/tuned-2/cells") for path in (root / "runs/tuned-2/cells").rglob("*.json")
    )
    assert Path(f"tiny/{job.name}/finetuned/humor/toy_memes/test.json") in cells


def test_another_adapter_than_the_planned_one_answers_nothing(tuned, toy, mmsoc, tmp_path, capsys):
    """A run is planned with one adapter; what lies there when its engine starts is another."""
    root, job, card = tuned
    from mmsoc_ray.grid.answer import fetch_planned

    with pytest.raises(RuntimeError, match=r"has the digest .* the run was planned with 0000000"):
        fetch_planned(open_storage(root), job.name, "0" * 64)
    assert fetch_planned(open_storage(root), job.name, card.digest).is_dir()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("split: test\n", "recipe plain learns toy_memes/test, which is also the split that is evaluated"),
        ("validation: {split: test, every_steps: 1}\n", "recipe plain is validated on toy_memes/test, which is also"),
        ("split: gone\n", "toy_memes"),
        ("tasks: [misinformation]\n", "unknown task of this grid 'misinformation'"),
    ],
)
def test_what_cannot_be_learnt_honestly_is_refused(line, said, toy, mmsoc, tmp_path, capsys):
    grid = write_grid(toy, tmp_path, recipe=RECIPE + line)
    assert mmsoc("plan", grid, "--output", tmp_path / "out") == 2
    assert said in capsys.readouterr().err


def test_narrowing_to_a_task_keeps_the_adapter(toy, tmp_path):
    from mmsoc_ray.config import narrow

    data, root = open_storage(toy.data), open_storage(tmp_path / "out")
    grid = load_grid(write_grid(toy, tmp_path))
    names = set()
    for some in (grid, narrow(grid, tasks=("humor",))):
        (needed,) = needed_adapters(plan_grid(some, data), data, root, resolve=True)
        names.add(needed.adapter.name)
    assert len(names) == 1


def test_the_table_shows_what_fine_tuning_gained_over_what(tuned, mmsoc, capsys):
    root, _, _ = tuned
    assert mmsoc("table", f"{root}/runs/tuned-1", "--format", "markdown") == 0
    shown = capsys.readouterr().out.partition("What fine-tuning gained")[2]
    assert "| tiny | finetuned over majority |" in shown
    assert "| tiny | finetuned over zero_shot |" in shown
    compared = json.loads((root / "runs/tuned-1/comparisons.json").read_text())
    assert {(one["cell"]["task"], one["over"]["model"], one["over"]["setting"]) for one in compared} == {
        (task, *other) for task in ("humor", "sarcasm") for other in (("majority", "zero_shot"), ("tiny", "zero_shot"))
    }
    assert all(one["gain"] == one["value"] - one["other"] for one in compared if one["gain"] is not None)


def test_an_audit_finds_a_gain_that_the_predictions_do_not_give(tuned, mmsoc, tmp_path, capsys):
    shutil.copytree(tuned[0], tmp_path / "out")
    file = tmp_path / "out" / "runs" / "tuned-1" / "comparisons.json"
    file.write_text(file.read_text().replace('"p_value": 1', '"p_value": 0', 1))
    assert mmsoc("verify", f"{tmp_path}/out/runs/tuned-1") == 1
    assert "comparisons.json: does not say what its cells gained" in capsys.readouterr().err


def test_two_adapters_are_compared_field_by_field(tuned, mmsoc, capsys):
    root, job, card = tuned
    other = card.model_copy(update={"name": "other-1", "method": "dora", "rank": 8})
    write_adapter(open_storage(root), other, root / card.folder)
    assert mmsoc("adapters", "compare", job.name, "other-1", "--output", root) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"{job.name} -> other-1", 'method: "lora" -> "dora"', "rank: 4 -> 8"]
