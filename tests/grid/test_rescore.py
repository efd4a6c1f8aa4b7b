import json
import shutil

import pytest

from mmsoc_ray.tasks import PARSER_VERSION


@pytest.fixture
def copy(toy_run, tmp_path):
    """A copy of the finished run, to be scored again."""
    shutil.copytree(toy_run.root, tmp_path / "out")
    return type(toy_run)(tmp_path / "out", toy_run.run_id, toy_run.grid)


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


def test_a_run_scored_by_older_rules_is_scored_by_these(copy, mmsoc, no_engine, capsys):
    before = {name: content for name, (content, _) in files(copy).items()}
    plan = copy.folder / "plan.json"
    content = json.loads(plan.read_text())
    content["scoring"]["parser"] = PARSER_VERSION - 1
    plan.write_text(json.dumps(content, indent=1))
    manifest = copy.root / "manifests/toy-1.json"
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
