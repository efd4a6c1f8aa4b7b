from datetime import UTC, datetime

import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.errors import StorageError
from mmsoc_ray.grid.account import WRITE_EVERY_S, RunAccount
from mmsoc_ray.grid.pace import CellWork, Receipt
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.stats import Estimate, JobStats, ModelStats, all_stats, read_stats
from mmsoc_ray.grid.usage import EngineUse

LOADED = EngineUse(busy_s=4, wait_s=1, imports_s=2, weights_s=3, peak_bytes=100)


def receipt(unit: str = "u", *, seconds: float = 4.0, **fields: object) -> Receipt:
    work = (CellWork("memes", "zero_shot", "humor", 10, 900, 300, 50),)
    given: dict[str, object] = {"work": work, "version": "v1", "use": EngineUse(busy_s=4, wait_s=1), **fields}
    return Receipt(unit, "m", 10, 12, 1, 0, 0, seconds, **given)  # type: ignore[arg-type]


def test_a_receipt_survives_the_way_to_the_driver():
    sent = receipt(use=LOADED, ended_at=9.5, sink_s=0.5, prepare_peak_bytes=7, reused=2, reused_from="a")
    assert Receipt.from_json(sent.json) == sent
    bare = Receipt("u", "m", 1, 1, 0, 0, 0, 0.0)
    assert Receipt.from_json(bare.json) == bare


def test_start_up_answering_and_tail_are_the_whole_stream():
    stats = ModelStats(engine="e")
    stats.answered(receipt(use=LOADED), 12.0)
    stats.answered(receipt(), 20.0)
    stats.stream_s = 21.0
    assert (stats.begin_s, stats.answering_s, stats.tail_s) == (8, 12, 1)
    assert (stats.imports_s, stats.weights_s, stats.first_wait_s, stats.processes_s) == (2, 3, 1, 2)
    assert stats.overhead_s == 9


def test_units_that_are_heard_of_in_another_order_begin_and_end_when_they_did():
    stats = ModelStats(engine="e")
    stats.answered(receipt(seconds=2), 20.0)
    stats.answered(receipt(seconds=9), 12.0)
    assert (stats.begin_s, stats.first_s, stats.last_s, stats.first_answer_s) == (3, 12, 20, 9)


def test_rates_are_over_the_time_of_answering():
    stats = ModelStats(engine="e")
    stats.answered(receipt(), 14.0)
    stats.answered(receipt(), 20.0)
    assert (stats.asked.requests, stats.asked.prompt_tokens, stats.asked.cached_tokens) == (20, 1800, 600)
    assert stats.per_second(stats.asked.requests) == 2.0
    assert stats.busy_share == 0.8


def test_what_another_process_answered_counts_for_the_engine_only():
    stats = ModelStats(engine="e")
    stats.answered(receipt(elsewhere=True, work=()), 5.0)
    assert (stats.posts, stats.first_s, stats.wait_s) == (0, None, 1)
    assert (stats.begin_s, stats.answering_s, stats.tail_s, stats.per_second(1)) == (None, None, None, None)


def test_what_an_estimate_gives_for_what_was_asked_is_held_against_the_time():
    stats = ModelStats(engine="e", estimate=Estimate(basis="r", overhead_s=5, request_s={"zero_shot/humor/memes": 0.5}))
    stats.answered(receipt(), 14.0)
    stats.answered(receipt(), 20.0)
    stats.stream_s = 21.0
    assert (stats.expected_s, stats.took_s) == (15, 21)
    stats.estimate = Estimate(basis="assumed", request_s={"zero_shot/humor/memes": 0.5})
    assert (stats.expected_s, stats.took_s) == (10, 10)
    stats.estimate = Estimate(basis="assumed")
    assert stats.expected_s is None


@pytest.fixture
def root(tmp_path):
    return open_storage(tmp_path)


@pytest.fixture
def account(root, seconds):
    return RunAccount(root, RunFolder("r"), pytest.fail, opening_s=2.0, clock=seconds)


def stored(root) -> list[JobStats]:
    return read_stats(root, RunFolder("r"), pytest.fail)


def test_an_account_is_written_now_and_then_and_at_the_end(account, root, seconds):
    with account, account.model("m", ModelStats(engine="e")), account.streaming():
        account.answered(receipt())
        assert stored(root) == []
        seconds.now += WRITE_EVERY_S
        account.answered(receipt())
        (then,) = stored(root)
        assert (then.ended, then.models["m"].posts, then.models["m"].stream_s) == (False, 20, WRITE_EVERY_S)
        seconds.now += 1
        account.answered(receipt())
    (at_last,) = stored(root)
    assert (at_last.ended, at_last.models["m"].posts) == (True, 30)
    assert at_last.wall_s == 2 + WRITE_EVERY_S + 1
    assert at_last.driver_peak_bytes > 0


def ended_by(error: BaseException, account: RunAccount) -> None:
    with account, account.model("m", ModelStats(engine="e")), account.streaming():
        account.answered(receipt())
        raise error


@pytest.mark.parametrize(("ended_at", "ended_s"), [(1005.0, 5.0), (900.0, 0.0), (5000.0, 8.0), (0.0, 8.0)])
def test_a_unit_ended_when_its_node_says_within_what_the_driver_knows(root, seconds, ended_at, ended_s):
    account = RunAccount(root, RunFolder("r"), pytest.fail, clock=seconds, time_of_day=lambda: 1000.0)
    with account, account.model("m", ModelStats(engine="e")), account.streaming():
        seconds.now += 8
        account.answered(receipt(ended_at=ended_at))
    assert account.stats.models["m"].last_s == ended_s


def test_an_interrupted_account_says_so(account, root):
    with pytest.raises(KeyboardInterrupt):
        ended_by(KeyboardInterrupt(), account)
    (left,) = stored(root)
    assert (left.ended, left.models["m"].posts) == (False, 10)


def test_a_process_that_made_nothing_durable_leaves_no_account(account, root):
    with account, account.model("m", ModelStats(engine="e")), account.streaming():
        pass
    assert stored(root) == []


def test_an_account_that_cannot_be_written_stops_nothing(tmp_path, seconds):
    (tmp_path / "runs").write_text("in the way")
    said: list[str] = []
    account = RunAccount(open_storage(tmp_path), RunFolder("r"), said.append, clock=seconds)
    with account, account.model("m", ModelStats(engine="e")), account.streaming():
        account.answered(receipt())
    assert said
    assert all("the run's statistics cannot be written" in line for line in said)


def test_after_a_storage_error_storage_is_not_asked_again(account, root):
    with pytest.raises(StorageError):
        ended_by(StorageError("gone"), account)
    assert stored(root) == []


def test_a_damaged_file_is_named_and_costs_the_others_nothing(root):
    good = JobStats(run_id="r", job="j", started_at=datetime(2026, 11, 22, tzinfo=UTC))
    root.write("runs/r/stats/a.json", good.model_dump_json().encode())
    for name, content in {"b": b"{", "c": b'{"version": 99}', "d": b'{"version": 1}'}.items():
        root.write(f"runs/r/stats/{name}.json", content)
    said: list[str] = []
    assert read_stats(root, RunFolder("r"), said.append) == [good]
    assert [line.partition(": ")[0].rpartition("/")[2] for line in said] == ["b.json", "c.json", "d.json"]


def test_all_statistics_come_newest_first_and_folders_that_are_no_runs_are_passed_over(root):
    for run_id, day in (("a", 1), ("b", 3), ("c", 2)):
        job = JobStats(run_id=run_id, job="j", started_at=datetime(2026, 11, day, tzinfo=UTC))
        root.write(f"runs/{run_id}/stats/j.json", job.model_dump_json().encode())
    root.write("runs/.hidden/stats/j.json", b"{}")
    assert [job.run_id for job in all_stats(root, pytest.fail)] == ["b", "c", "a"]
