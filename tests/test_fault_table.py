import pytest
from fault_table import Cost, FaultTable, RunFiles

from mmsoc_ray.data import open_storage
from mmsoc_ray.grid.attempts import Attempts

HARMLESS = Cost(lost=0, duplicated=0, repeated=2, at_most=2, identical=True)


@pytest.mark.parametrize(
    "cost", [Cost(1, 0), Cost(0, 1), Cost(0, 0, 3, 2), Cost(0, 0, -1, 2), Cost(0, 0, 0, 0, identical=False)]
)
def test_more_than_is_promised_fails_and_is_shown(cost):
    table = FaultTable()
    with pytest.raises(AssertionError):
        table.add("kill", cost)
    assert len(table.lines()) == 3


def test_costs_of_one_fault_are_added_up():
    table = FaultTable()
    table.add("kill", HARMLESS, times=3)
    table.add("kill", HARMLESS)
    table.add("memory", Cost(0, 0))
    assert [line.replace(" ", "") for line in table.lines()[2:]] == ["|kill|4|0|0|4|4|yes|", "|memory|1|0|0|–|–|–|"]


def test_tables_of_two_processes_are_joined():
    table, other = FaultTable(), FaultTable()
    table.add("kill", HARMLESS)
    other.add("kill", HARMLESS, times=2)
    other.add("memory", Cost(0, 0))
    table.join(other.plain())
    assert table.rows == {"kill": (3, HARMLESS + HARMLESS), "memory": (1, Cost(0, 0))}


def test_a_unit_that_is_taken_apart_is_one_engine_call_more_and_in_flight_until_it_is_durable(tmp_path):
    root = open_storage(tmp_path)
    folder = "runs/r1/model=m/config=c"
    attempts = Attempts(root, f"{folder}/attempts", "job.node")
    for post in (None, None, 0, 1, 1):
        attempts.begin("u", post)
    run = RunFiles(root, "r1")
    assert run.engine_calls() == {(folder, "u"): 4}
    assert run.in_flight() == {(folder, "u")}
    assert run.in_flight({0}) == set()
    root.write(f"{folder}/predictions/u.parquet", b"")
    assert run.in_flight() == set()
