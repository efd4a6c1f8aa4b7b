import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from mmsoc_ray.grid.stats import CellStats, Estimate, JobStats, ModelStats
from mmsoc_ray.grid.stats_table import stats_content, stats_tables


@pytest.fixture
def job():
    """A process whose one model began after 20 s, answered for 40 s and had a tail of 5 s."""
    cell = CellStats(requests=200, prompt_tokens=120_000, cached_tokens=100_000, output_tokens=2_000)
    estimate = Estimate(basis="r", overhead_s=20, request_s={"zero_shot/humor/memes": 0.15})
    model = ModelStats(engine="transformers", gpus=2, actors=1, posts=100, cells={"zero_shot/humor/memes": cell})
    times = {"begin_s": 20.0, "first_s": 30.0, "last_s": 60.0, "stream_s": 65.0, "busy_s": 36.0, "wait_s": 4.0}
    model = model.model_copy(update={**times, "estimate": estimate, "gpu_peak_bytes": 7 * 10**9})
    return JobStats(
        run_id="r",
        job="j",
        started_at=datetime(2026, 11, 22, tzinfo=UTC),
        ended=True,
        wall_s=80,
        opening_s=3,
        ray_s=4,
        aggregate_s=6,
        models={"llava": model, "gone": ModelStats(engine="transformers", stream_s=1)},
    )


def shown(*jobs: JobStats, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, _environ={})
    console.print(stats_tables(jobs))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line(text: str, begin: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(begin)).split()


def test_rates_shares_and_gpu_hours_stand_in_their_tables(job):
    text = shown(job)
    assert line(text, "llava")[1:] == ["100", "200", "0", "0", "90.0%", "10.0%", "0.04"]
    assert line(text.partition("per second")[2], "llava")[1:] == ["2.50", "5.00", "3,000", "2,500", "50.0"]
    assert line(text.partition("peak memory")[2], "llava")[1:] == ["–", "–", "7.00"]


def test_a_model_that_answered_nothing_has_no_rate_rather_than_none(job):
    assert line(shown(job).partition("per second")[2], "gone")[1:] == ["–"] * 5
    assert stats_content(job)["models"]["gone"]["requests_per_s"] is None


def test_the_wall_time_is_shared_out_whole(job):
    parts = {part["part"]: part["seconds"] for part in stats_content(job)["wall"]}
    assert (parts["llava: start-up"], parts["llava: answering"], parts["llava: tail"]) == (20, 40, 5)
    assert (parts["gone: start-up"], parts["other"]) == (1, 1)
    assert sum(parts.values()) == 80


def test_what_was_expected_is_held_against_what_it_took(job):
    assert "llava: 50 s were expected, it took 65 s (+30%)" in shown(job)


def test_several_processes_are_summed_up_and_one_that_did_not_end_says_so(job):
    text = shown(job, job.model_copy(update={"ended": False}))
    assert text.count("it is at work, or was ended") == 1
    assert line(text.partition("all processes")[2], "llava")[1:4] == ["200", "400", "0"]
    assert "all processes" not in shown(job)


def test_a_terminal_of_80_columns_cuts_no_figure(job):
    assert "…" not in shown(job, job, width=80)
