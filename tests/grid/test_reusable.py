"""Which earlier runs a model may take answers from, by policy and engine."""

import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import open_storage
from mmsoc_ray.engines import engine_version
from mmsoc_ray.grid import ReusePolicy, Run, RunResult, open_run, plan_grid
from mmsoc_ray.grid.reuse import choose_runs, earlier_runs


@pytest.fixture
def plan_run(toy, tmp_path):
    """Plan a run below one root, and write its plan.json."""

    def planned(run_id: str, models: str) -> Run:
        data = open_storage(toy.data)
        models = models.replace("CHECKPOINT", str(toy.checkpoint))
        plan = plan_grid(load_grid(toy.grid(tmp_path / f"{run_id}.yaml", models=models)), data)
        return open_run(plan, data, open_storage(tmp_path / "out"), run_id, lambda text: None)

    return planned


def reused(run: Run, policy: ReusePolicy, notes: list[str] | None = None) -> tuple[set[str], str | None]:
    earlier = earlier_runs(run.root, run.folder.run_id, pytest.fail)
    (model,) = run.models
    note = pytest.fail if notes is None else notes.append
    found = choose_runs(model.answerer, model.plan.datasets, earlier, policy, note)
    return {f"{run.run_id}: {run.predictions.split('=')[1].split('/')[0]}" for run in found.runs}, found.version


def test_runs_of_the_same_weights_and_precision_are_those_that_count(plan_run):
    tiny = "{checkpoint: CHECKPOINT, settings: [zero_shot], dtype: float32}"
    plan_run("same", f"  tiny: {tiny}\n  again: {tiny}\n  random:")
    plan_run("other", f"  tiny: {tiny.replace('float32', 'bfloat16')}")
    run = plan_run("now", f"  renamed: {tiny.replace('zero_shot', 'text_only')}")
    assert reused(run, ReusePolicy.same_version) == (
        {"same: tiny", "same: again"},
        engine_version(run.models[0].answerer.entry),
    )
    assert reused(run, ReusePolicy.any) == ({"same: tiny", "same: again"}, None)


def test_a_server_is_taken_at_its_word_only_where_the_user_says_any(plan_run):
    served = "  mine: {endpoint: {url: 'http://localhost:1/v1'}, settings: [zero_shot]}"
    plan_run("one", served)
    run, notes = plan_run("two", served), list[str]()
    assert reused(run, ReusePolicy.same_version, notes) == (set(), None)
    assert "mine: its engine's version is not known" in notes[0]
    assert reused(run, ReusePolicy.any) == ({"one: mine"}, None)


def test_what_a_run_says_of_reuse():
    assert RunResult((), 0).taken_over is None
    some = RunResult((), engine_requests=10, reused=2438, reused_from=("a", "b"), rows=2448)
    assert some.taken_over == "2,438 of 2,448 answers taken over from runs 'a', 'b'; 10 were asked."
    every = RunResult((), engine_requests=0, reused=2448, reused_from=("demo",), rows=2448)
    assert every.taken_over == "2,448 of 2,448 answers taken over from run 'demo'; no engine was called."
