import json
import shutil

import pytest

ASKED = 46
"""Of the 50 requests four are those of a meme that repeats another one."""


@pytest.fixture
def told(toy_run, mmsoc, capsys):
    """What ``mmsoc stats --json`` tells of the finished run's one process."""
    assert mmsoc("stats", toy_run.folder, "--json") == 0
    (job,) = json.loads(capsys.readouterr().out)
    return job


def test_counts_are_those_of_the_run(told):
    tiny = told["models"]["tiny"]
    assert (tiny["posts"], tiny["requests"], tiny["reused"], told["ended"]) == (15, ASKED, 0, True)
    assert {key: cell["requests"] for key, cell in tiny["cells"].items()} == {
        f"{setting}/{task}/{dataset}": posts
        for setting in ("zero_shot", "text_only")
        for task, dataset, posts in (
            ("humor", "toy_memes", 9),
            ("sarcasm", "toy_memes", 9),
            ("misinformation", "toy_news", 5),
        )
    }
    assert tiny["prompt_tokens"] > tiny["cached_tokens"] > 0
    assert tiny["output_tokens"] > 0
    assert tiny["errors"] == 8


def test_rates_shares_and_start_up_follow(told):
    tiny = told["models"]["tiny"]
    assert tiny["requests_per_s"] == pytest.approx(tiny["posts_per_s"] * ASKED / 15)
    assert tiny["prompt_tokens_per_s"] == pytest.approx(tiny["requests_per_s"] * tiny["prompt_tokens"] / ASKED)
    assert 0 < tiny["busy_share"] <= 1
    assert tiny["busy_share"] + tiny["wait_share"] == pytest.approx(1)
    assert tiny["busy_s"] + tiny["wait_s"] <= tiny["stream_s"]
    assert set(tiny["start_up_s"]) == {"ray", "processes", "imports", "weights", "first_data", "first_answer"}
    assert tiny["start_up_s"]["imports"] > 0
    assert tiny["start_up_s"]["weights"] > 0


def test_the_parts_of_the_wall_time_sum_up(told):
    assert sum(part["seconds"] for part in told["wall"]) == pytest.approx(told["wall_s"], rel=1e-3)
    named = {part["part"]: part["seconds"] for part in told["wall"]}
    assert named["other"] < told["wall_s"] / 2
    assert named["tiny: start-up"] > 0


def test_memory_is_that_of_each_kind_of_process(told):
    tiny = told["models"]["tiny"]
    assert min(told["driver_peak_bytes"], tiny["engine_peak_bytes"], tiny["prepare_peak_bytes"]) > 50_000_000
    assert tiny["engine_peak_bytes"] > told["models"]["majority"]["engine_peak_bytes"]  # which imports no torch
    assert tiny["gpu_peak_bytes"] is None


def test_what_is_not_known_is_said(toy_run, mmsoc, capsys):
    assert mmsoc("stats", toy_run.run_id, "--output", toy_run.root) == 0
    shown = capsys.readouterr().out
    assert "tiny: answering" in shown
    memory = shown.partition("peak memory")[2]
    (line,) = [line for line in memory.splitlines() if line.startswith("tiny ")]
    assert line.split()[-1] == "–"


def test_a_second_process_has_its_own_file_and_audit_and_gc_accept_both(copy, mmsoc, capsys):
    next(copy.folder.glob("model=majority/config=*/predictions/toy_news-test-00000-00000.parquet")).unlink()
    assert mmsoc(*copy.arguments) == 0
    assert len(list(copy.folder.glob("stats/*.json"))) == 2
    assert mmsoc("verify", copy.folder) == 0
    capsys.readouterr()
    assert mmsoc("gc", "--output", copy.root, "--dry-run", "--older-than", 0, "--json") == 0
    assert not [item for item in json.loads(capsys.readouterr().out) if "/stats/" in item["path"]]
    assert mmsoc("stats", copy.folder, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert second["models"]["majority"]["posts"] == 4
    assert second["models"]["tiny"]["requests_per_s"] is None
    assert first["models"]["tiny"]["requests_per_s"] > 0


def test_answers_that_were_taken_over_do_not_count_as_asked(copy, mmsoc, capsys):
    assert mmsoc("run", copy.grid, "--output", copy.root, "--run-id", "toy-2", "--models", "majority") == 0
    capsys.readouterr()
    assert mmsoc("stats", "toy-2", "--output", copy.root, "--json") == 0
    (job,) = json.loads(capsys.readouterr().out)
    majority = job["models"]["majority"]
    assert (majority["reused"], majority["requests"], majority["requests_per_s"]) == (25, 0, None)
    assert majority["take_over_s"] > 0
    assert mmsoc("stats", "toy-2", "--output", copy.root) == 0


def test_a_run_that_is_not_there_lists_those_that_are(toy_run, mmsoc, capsys):
    assert mmsoc("stats", "toy-9", "--output", toy_run.root) == 2
    assert f"{toy_run.root} has no run 'toy-9'. Runs: toy-1." in capsys.readouterr().err
    assert mmsoc("stats", "../x", "--output", toy_run.root) == 2


def test_a_run_without_statistics_says_so(copy, mmsoc, capsys):
    shutil.rmtree(copy.folder / "stats")
    assert mmsoc("stats", copy.folder) == 2
    assert "has no statistics" in capsys.readouterr().err
