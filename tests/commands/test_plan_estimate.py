import json

import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.stats import read_stats


@pytest.fixture
def planned(toy_run, mmsoc, capsys):
    """Call ``mmsoc plan --json`` with the grid of the finished run."""

    def planned(*arguments):
        assert mmsoc("plan", toy_run.grid, "--json", *arguments) == 0
        return json.loads(capsys.readouterr().out)

    return planned


def cell(content, task: str) -> dict[str, object]:
    keys = ("model", "setting", "task")
    return next(c for c in content["cells"] if tuple(c[key] for key in keys) == ("tiny", "text_only", task))


def test_without_earlier_runs_the_registry_and_an_assumption_stand_in(planned, tmp_path):
    content = planned("--output", tmp_path / "absent")
    humor = cell(content, "humor")
    assert (humor["answers"], humor["basis"], humor["requests"], humor["output_tokens"]) == ("new", "assumed", 10, 30)
    assert humor["prompt_tokens"] > 0
    assert humor["seconds"] is None  # nobody says how large this model is
    assert content["estimate"]["tiny"]["basis"] == "assumed"
    assert content["estimate"]["tiny"]["last_estimate"] is None
    assert not (tmp_path / "absent").exists()


def test_a_cell_that_an_earlier_run_answered_is_reused(planned, toy_run):
    content = planned("--output", toy_run.root)
    assert {c["answers"] for c in content["cells"]} == {"reused"}
    assert content["estimate"]["tiny"]["requests"] == 0
    assert content["estimate"]["tiny"]["seconds"] == 0


def test_what_a_run_measured_is_what_the_same_grid_takes(planned, toy_run):
    content = planned("--output", toy_run.root, "--reuse", "none")
    (job,) = read_stats(open_storage(toy_run.root), RunFolder("toy-1"), pytest.fail)
    measured = job.models["tiny"]
    estimate = content["estimate"]["tiny"]
    assert estimate["basis"] == "toy-1"
    # The plan does not know that a meme repeats another, whose two questions were not asked again.
    assert estimate["seconds"] == pytest.approx(measured.stream_s, rel=0.05)
    assert estimate["prompt_tokens"] == pytest.approx(measured.asked.prompt_tokens, rel=0.1)
    assert cell(content, "humor")["basis"] == "measured"


def test_gpu_hours_cost_only_at_a_price_that_the_user_names(toy, mmsoc, capsys, tmp_path):
    grid = toy.grid(tmp_path / "g.yaml", models="  llava-1.5-7b: {resources: {actors: 2, gpus: 1}}")

    def plan(*arguments):
        assert mmsoc("plan", grid, "--output", tmp_path / "absent", *arguments) == 0
        return capsys.readouterr().out

    free = json.loads(plan("--json"))["estimate"]["llava-1.5-7b"]
    assert free["cost"] is None
    assert free["gpu_hours"] == pytest.approx(2 * free["seconds"] / 3600)
    paid = json.loads(plan("--json", "--gpu-hour", 4))["estimate"]["llava-1.5-7b"]
    assert paid["cost"] == pytest.approx(4 * paid["gpu_hours"])
    assert "cost" not in plan().partition("estimate")[2]
    assert "cost" in plan("--gpu-hour", 4).partition("estimate")[2]


def test_the_last_estimate_is_held_against_what_the_run_took(planned, copy, mmsoc, capsys):
    again = ("--run-id", "toy-2", "--reuse", "none", "--limit", 2, "--models", "tiny")
    assert mmsoc("run", copy.grid, "--output", copy.root, *again) == 0
    capsys.readouterr()
    last = planned("--output", copy.root)["estimate"]["tiny"]["last_estimate"]
    (job,) = read_stats(open_storage(copy.root), RunFolder("toy-2"), pytest.fail)
    assert last["run_id"] == "toy-2"
    assert last["took_s"] == pytest.approx(job.models["tiny"].stream_s)
    assert last["off"] == pytest.approx(last["took_s"] / last["expected_s"] - 1)
    assert mmsoc("plan", copy.grid, "--output", copy.root, "--cells") == 0
    assert "in toy-2" in " ".join(capsys.readouterr().out.split())


def test_a_price_below_zero_and_an_unknown_policy_are_refused(toy_run, mmsoc, capsys):
    assert mmsoc("plan", toy_run.grid, "--gpu-hour", -1) == 2
    assert mmsoc("plan", toy_run.grid, "--reuse", "some") == 2
    assert "--reuse 'some': allowed are same_version, any, none." in capsys.readouterr().err
