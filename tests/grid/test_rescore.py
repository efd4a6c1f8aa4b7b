import hashlib
import itertools
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.grid.record import read_record
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.scores import score_run, withdraw
from mmsoc_ray.grid.scoring import RULES
from mmsoc_ray.grid.sink import write_unit


def files(copy):
    found = (file for file in copy.root.rglob("*") if file.is_file())
    return {str(file.relative_to(copy.root)): (file.read_bytes(), file.stat().st_mtime_ns) for file in found}


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setattr("mmsoc_ray.grid.answer.open_engine", lambda *_, **__: pytest.fail("an engine was opened"))


def test_scoring_again_changes_no_byte(copy, mmsoc, no_engine, capsys):
    before = files(copy)
    assert mmsoc("aggregate", copy.folder) == 0
    assert "Aggregated 12 of 12 cells of run 'toy-1'. No engine was called." in capsys.readouterr().out
    assert files(copy) == before


def test_table_cells_and_manifest_come_back_from_the_predictions_alone(copy, mmsoc, no_engine):
    before = {name: content for name, (content, _) in files(copy).items()}
    for name in ("cells", "../../results", "../../manifests"):
        shutil.rmtree(copy.folder / name)
    assert mmsoc("aggregate", copy.run_id, "--output", copy.root) == 0
    assert {name: content for name, (content, _) in files(copy).items()} == before


@pytest.mark.parametrize(("rules", "version"), RULES.items())
def test_a_run_scored_by_older_rules_is_scored_by_these(copy, mmsoc, no_engine, capsys, rules, version):
    before = {name: content for name, (content, _) in files(copy).items()}
    plan = copy.folder / "plan.json"
    content = json.loads(plan.read_text())
    content["scoring"][rules] = version - 1
    plan.write_text(json.dumps(content, indent=1))
    manifest = copy.root / "manifests/toy-1.json"
    manifest.unlink()
    assert mmsoc("verify", copy.folder) == 0, "nothing is claimed of its scores"
    manifest.write_text(json.dumps({"plan": {"sha256": hashlib.sha256(plan.read_bytes()).hexdigest()}}))
    assert mmsoc("verify", copy.folder) == 2
    assert f"rules for {rules}" in capsys.readouterr().err
    manifest.unlink()
    assert mmsoc("aggregate", copy.folder) == 0
    assert {name: content for name, (content, _) in files(copy).items()} == before
    assert mmsoc("verify", copy.folder) == 0


def test_a_run_that_lacks_posts_says_so(copy, mmsoc, no_engine, capsys):
    (unit,) = copy.folder.glob("model=random/config=*/predictions/toy_news-test-00000-00001.parquet")
    unit.unlink()
    assert mmsoc("aggregate", copy.folder) == 1
    said = capsys.readouterr()
    assert "Aggregated 11 of 12 cells" in said.out
    assert "incomplete: random/none/zero_shot/misinformation/toy_news/test has 4 of 5 posts" in said.err
    assert json.loads((copy.root / "manifests/toy-1.json").read_text())["status"] == "incomplete"


def test_a_run_without_predictions_is_refused(copy, mmsoc, capsys):
    for folder in copy.folder.glob("model=*"):
        shutil.rmtree(folder)
    assert mmsoc("aggregate", copy.folder) == 2
    assert "has no predictions yet. Run the grid first." in capsys.readouterr().err


def test_an_older_plan_is_refused_with_its_version(copy, mmsoc, capsys):
    plan = copy.folder / "plan.json"
    plan.write_text(plan.read_text().replace('"schema_version": 2', '"schema_version": 1'))
    assert mmsoc("aggregate", copy.folder) == 2
    assert "schema_version is 1, and this version of mmsoc_ray reads 2" in capsys.readouterr().err


def rewrite(unit, change):
    """Write a unit's file again, as another process would have answered it."""
    table = pq.read_table(unit, partitioning=None)
    rows = table.to_pylist()
    change(rows)
    unit.unlink()
    write_unit(open_storage(unit.parent), unit.name, pa.Table.from_pylist(rows, schema=table.schema))


def test_a_run_that_ended_before_it_was_sealed_is_sealed_and_then_scored(copy, mmsoc, no_engine):
    before = {name: content for name, (content, _) in files(copy).items()}
    for file in (*copy.folder.rglob("_SUCCESS.json"), *copy.folder.rglob("checksums.json")):
        file.unlink()
    (copy.root / "manifests/toy-1.json").unlink()
    assert mmsoc("aggregate", copy.folder) == 0
    assert {name: content for name, (content, _) in files(copy).items()} == before


def test_a_run_whose_units_cannot_be_sealed_is_not_complete(copy, mmsoc, no_engine, capsys):
    (unit,) = copy.folder.glob("model=random/config=*/predictions/toy_news-test-00000-00000.parquet")
    rewrite(unit, lambda rows: rows[1].update(rows[0]))
    (copy.folder / unit.parent.parent / "_SUCCESS.json").unlink()
    assert mmsoc("aggregate", copy.folder) == 1
    assert "random is not sealed" in capsys.readouterr().err
    manifest = json.loads((copy.root / "manifests/toy-1.json").read_text())
    assert (manifest["status"], manifest["unsealed"]) == ("incomplete", ["random"])


def test_units_that_another_process_writes_meanwhile_are_scored_too(copy, tmp_path):
    before = {name: content for name, (content, _) in files(copy).items()}
    (unit,) = copy.folder.glob("model=random/config=*/predictions/toy_news-test-00000-00000.parquet")
    unit.rename(tmp_path / "late")

    def score(function, calls):
        yield from itertools.starmap(function, calls)
        if (tmp_path / "late").exists():
            (tmp_path / "late").rename(unit)

    root, folder = open_storage(copy.root), RunFolder(copy.run_id)
    cells = score_run(root, folder, read_record(root, folder), score)
    assert all(cell.complete for cell in cells)
    assert {name: content for name, (content, _) in files(copy).items()} == before


def test_a_run_that_ended_after_a_unit_was_answered_again_is_counted_and_scored_again(copy, mmsoc, capsys):
    # As it is left by a driver that is killed between that unit and the seal.
    withdraw(open_storage(copy.root), RunFolder(copy.run_id))
    (unit,) = copy.folder.glob("model=random/config=*/predictions/toy_news-test-00000-00001.parquet")
    rewrite(unit, lambda rows: rows[0].update(output="another answer"))
    assert mmsoc("verify", copy.folder) == 0
    assert "its manifest says that it is under way" in capsys.readouterr().out
    assert mmsoc("table", copy.folder) == 0
    assert "this table is from before" in " ".join(capsys.readouterr().out.split())
    renamed = copy.root / "renamed.yaml"
    renamed.write_text(copy.grid.read_text().replace("name: toy", "name: renamed"))
    assert mmsoc("run", renamed, "--output", copy.root, "--run-id", copy.run_id) == 0
    assert "Nothing was left to do" not in capsys.readouterr().out
    assert mmsoc("verify", copy.folder) == 0, "counted again, and told under the name that the plan has"
    assert mmsoc("run", renamed, "--output", copy.root, "--run-id", copy.run_id) == 0
    assert "Nothing was left to do" in capsys.readouterr().out
