"""What changes how a finished run is scored, without asking any model again."""

import json

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.grid import scoring as module
from mmsoc_ray.grid.scoring import scoring
from mmsoc_ray.results.footnotes import policy_notes


def test_a_tasks_own_policy_wins_over_the_default(toy, tmp_path):
    file = toy.grid(tmp_path / "grid.yaml", models="  majority:\ndefaults: {parse_policy: strict}")
    file.write_text(file.read_text().replace("humor: {", "humor: {parse_policy: lenient, ", 1))
    policies = scoring(load_grid(file))["parse_policy"]
    assert policies == {"humor": "lenient", "misinformation": "strict", "sarcasm": "strict"}


@pytest.mark.parametrize("rules", ["parser", "metrics"])
def test_a_mended_parser_and_new_metrics_are_another_scoring(toy, tmp_path, monkeypatch, rules):
    grid = load_grid(toy.grid(tmp_path / "grid.yaml", models="  majority:"))
    before = scoring(grid)
    monkeypatch.setitem(module.RULES, rules, 99)
    assert scoring(grid) != before


def test_the_note_says_which_tasks_are_read_strictly():
    assert policy_notes({}) == []
    assert policy_notes({"humor": "lenient"})[0].startswith("Answers are read leniently")
    assert policy_notes({"humor": "strict"})[0].startswith("Answers are read strictly")
    assert policy_notes({"a": "strict", "b": "lenient"})[0].endswith("for a.")


def test_another_policy_scores_a_finished_run_anew_without_an_engine(toy, ray_session, mmsoc, capsys, tmp_path):
    def success() -> list[float]:
        rows = pq.read_table(tmp_path / "out" / "results").to_pylist()
        return [row["value"] for row in rows if row["metric"] == "success_rate"]

    grid = toy.grid(tmp_path / "grid.yaml", models="  majority:")
    command = ("run", grid, "--output", tmp_path / "out", "--run-id", "r-1", "--limit", "2")
    assert mmsoc(*command) == 0
    predictions = {file: file.stat().st_mtime_ns for file in tmp_path.glob("out/runs/**/*.parquet")}
    assert success() == [1, 1, 1]
    # An answer that only a lenient parser reads, as a model would have given it.
    unit = next(file for file in predictions if "toy_news" in file.name)
    table = pq.read_table(unit, partitioning=None)
    said = ["The news is fake."] * len(table)
    pq.write_table(table.set_column(table.column_names.index("output"), table.schema.field("output"), [said]), unit)
    predictions[unit] = unit.stat().st_mtime_ns
    grid.write_text(grid.read_text().replace("models:", "defaults: {parse_policy: strict}\nmodels:"))
    capsys.readouterr()
    assert mmsoc(*command) == 0
    assert "Answers are read strictly" in " ".join(capsys.readouterr().out.split())
    assert sorted(success()) == [0, 1, 1]
    assert {file: file.stat().st_mtime_ns for file in predictions} == predictions
    assert json.loads((tmp_path / "out/runs/r-1/plan.json").read_text())["scoring"] == scoring(load_grid(grid))
    cell = tmp_path / "out/runs/r-1/cells/majority/none/zero_shot/humor/toy_memes/test.json"
    assert json.loads(cell.read_text())["parse_policy"] == "strict"
    assert mmsoc(*command) == 0
    assert "Nothing was left to do" in capsys.readouterr().out
