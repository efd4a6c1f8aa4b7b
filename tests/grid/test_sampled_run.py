"""Sampled answers through whole runs: the same from any units and batches, others with another seed."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data import open_storage, write_split

IDENTITY = ("setting", "task", "post_key", "round")
Rows = dict[tuple[object, ...], dict[str, Any]]


@pytest.fixture(scope="module")
def sampled(toy, ray_session, mmsoc, tmp_path_factory):
    """Run the toy memes with a seed of the decoding; gives the rows by their identity."""
    folder = tmp_path_factory.mktemp("sampled")

    def run(run_id: str, seed: int, *, data: Path | None = None, more: str = "", reuse: str = "none") -> Rows:
        how = f"settings: [zero_shot, few_shot_2, self_improve_2], decoding: {{temperature: 1.2, seed: {seed}}}{more}"
        models = f"  tiny: {{checkpoint: {toy.checkpoint}, dtype: float32, {how}}}"
        grid = toy.grid(folder / f"{run_id}.yaml", models=models, data=data)
        grid.write_text(grid.read_text().replace("datasets: [toy_memes, toy_news]", "datasets: [toy_memes]"))
        only = ("--tasks", "humor,sarcasm", "--reuse", reuse)
        assert mmsoc("run", grid, "--output", folder / "out", "--run-id", run_id, *only) == 0
        (predictions,) = folder.glob(f"out/runs/{run_id}/model=tiny/config=c*/predictions")
        return {tuple(row[name] for name in IDENTITY): row for row in pq.read_table(predictions).to_pylist()}

    return run


@pytest.fixture(scope="module")
def first(sampled):
    return sampled("first", seed=1)


def said(rows: Rows) -> dict[tuple[object, ...], tuple[object, ...]]:
    return {identity: (row["row_key"], row["output"], row["error"]) for identity, row in rows.items()}


def test_other_units_batches_and_actors_draw_the_same_answers(first, sampled, toy, tmp_path):
    shutil.copytree(toy.data, tmp_path / "data")
    write_split(open_storage(tmp_path / "data"), "toy_memes", "test", toy.memes[::-1], posts_per_unit=3)
    again = sampled("apart", seed=1, data=tmp_path / "data", more=", batch_tokens: 1, resources: {actors: 2}")
    assert said(again) == said(first)
    assert {row["round"] for row in first.values()} == {0, 1, 2}
    assert {row["reused_from"] for row in again.values()} == {None}


def test_equal_keys_have_equal_answers(first):
    answered = [row for row in first.values() if row["error"] is None]
    answers: dict[str, set[str]] = {}
    for row in answered:
        answers.setdefault(row["row_key"], set()).add(row["output"])
    assert {len(found) for found in answers.values()} == {1}
    assert len(answers) < len(answered)  # a post that stands twice, and the first round of self-improvement
    assert len({row["output"] for row in answered}) > len(answers) / 2


def test_another_seed_is_another_question_with_another_answer(first, sampled):
    other = sampled("other", seed=2, reuse="same_version")
    pairs = [(row, other[identity]) for identity, row in first.items() if row["error"] is None]
    assert not {one["row_key"] for one, _ in pairs} & {two["row_key"] for _, two in pairs}
    assert sum(one["output"] != two["output"] for one, two in pairs) > len(pairs) / 2
    assert {two["reused_from"] for _, two in pairs} == {None}
