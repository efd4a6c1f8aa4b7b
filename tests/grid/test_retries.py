from collections.abc import Callable, Iterator, Sequence

import pytest

from mmsoc_ray.data import Unit
from mmsoc_ray.grid.asking import EngineBrokenError
from mmsoc_ray.grid.pace import Receipt
from mmsoc_ray.grid.retries import (
    MAX_STALLS,
    Deferred,
    EngineLoadError,
    StreamStalledError,
    in_other_order,
    stream_to_the_end,
)

UNITS = [Unit(f"u{number}", "d", "test", "shard", number, 1) for number in range(6)]
Step = Callable[[Unit], Receipt | Deferred]


def receipt(unit: Unit) -> Receipt:
    return Receipt(unit.unit_id, "m", 1, 1, 0, 1, 1, 0.1)


def defer(unit: Unit) -> Deferred:
    return Deferred(unit.unit_id, 1, "it died")


class Job:
    """Streams units as a script of its passes says: how many units each answers, and how it ends."""

    def __init__(self, *passes: tuple[int, Exception | None], step: Step = receipt) -> None:
        self.passes = list(passes)
        self.step = step
        self.done: set[str] = set()
        self.asked: list[list[str]] = []
        self.notes: list[str] = []
        self.pauses: list[float] = []

    def stream(self, units: Sequence[Unit]) -> Iterator[Receipt | Deferred]:
        self.asked.append([unit.unit_id for unit in units])
        count, error = self.passes.pop(0) if self.passes else (len(units), None)
        for unit in units[:count]:
            outcome = self.step(unit)
            if isinstance(outcome, Receipt):
                self.done.add(unit.unit_id)
            yield outcome
        if error is not None:
            raise error

    def run(self) -> list[str]:
        found = stream_to_the_end(
            "m", UNITS, self.stream, lambda: frozenset(self.done), self.notes.append, self.pauses.append
        )
        return [receipt.unit_id for receipt in found]


STALL = StreamStalledError("no progress for 9 s")


def test_what_a_stall_leaves_over_is_streamed_again():
    job = Job((2, STALL), (1, STALL))
    assert job.run() == [unit.unit_id for unit in UNITS]
    assert [len(asked) for asked in job.asked] == [6, 4, 3]
    assert job.notes[0] == "no progress for 9 s; 4 units are streamed again (stall 1 of 7 without progress)"


def test_a_unit_whose_receipt_a_stall_swallowed_is_told_of_all_the_same():
    job = Job((0, STALL))
    durable = iter([frozenset[str](), frozenset({"u3"})])
    found = list(stream_to_the_end("m", UNITS, job.stream, lambda: next(durable), job.notes.append, job.pauses.append))
    assert [(receipt.unit_id, receipt.elsewhere) for receipt in found[:2]] == [("u3", True), ("u0", False)]
    assert sorted(receipt.unit_id for receipt in found) == [unit.unit_id for unit in UNITS]


def test_stalls_without_progress_are_bounded():
    job = Job(*[(0, STALL)] * 99)
    with pytest.raises(StreamStalledError, match="nothing became durable over 8 stalls"):
        job.run()
    assert len(job.asked) == MAX_STALLS + 1


def test_each_stall_without_progress_is_followed_by_a_longer_pause():
    job = Job((0, STALL), (0, STALL), (0, STALL), (2, STALL), (0, STALL))
    job.run()
    assert job.pauses == [0.5, 1, 2, 0.5, 1]


def test_progress_starts_the_count_of_stalls_again():
    job = Job(*[(0, STALL)] * MAX_STALLS, (1, STALL), *[(0, STALL)] * (MAX_STALLS - 1))
    assert len(job.run()) == 6


def test_an_engine_that_never_loads_is_not_loaded_again():
    job = Job((0, EngineLoadError("no weights")), (6, None))
    with pytest.raises(EngineLoadError, match="no weights"):
        job.run()
    assert len(job.asked) == 1


def test_an_engine_that_does_not_come_back_up_is_loaded_again():
    job = Job((2, EngineLoadError("the GPU is still taken")))
    assert len(job.run()) == 6


def test_another_error_ends_the_stream_at_once():
    job = Job((1, ValueError("bug")))
    with pytest.raises(ValueError, match="bug"):
        job.run()
    assert len(job.asked) == 1


def test_deferred_units_come_again_after_the_others():
    first = iter([True])
    job = Job(step=lambda unit: defer(unit) if unit.unit_id == "u0" and next(first, False) else receipt(unit))
    assert job.run() == ["u1", "u2", "u3", "u4", "u5", "u0"]


def test_an_engine_that_only_defers_is_broken():
    job = Job(step=defer)
    with pytest.raises(
        EngineBrokenError, match="each of 3 posts that it was asked alone and has answered nothing; it died"
    ):
        job.run()


def test_a_unit_that_is_deferred_alone_is_not_deferred_without_end():
    job = Job(step=lambda unit: defer(unit) if unit.unit_id == "u3" else receipt(unit))
    with pytest.raises(EngineBrokenError, match="each of 1 posts"):
        job.run()
    assert job.asked[1:] == [["u3"]]


def test_another_order_holds_every_unit_once():
    assert sorted(unit.unit_id for unit in in_other_order(UNITS)) == [unit.unit_id for unit in UNITS]
