import json
import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data import open_storage
from mmsoc_ray.grid.sink import write_unit


@pytest.fixture
def copy(toy_run, tmp_path):
    """A copy of the finished run, to be falsified."""
    # Without the record of attempts, which of a finished run is garbage, and without times, on which nothing rests.
    shutil.copytree(toy_run.root, tmp_path / "out", ignore=shutil.ignore_patterns("attempts", "stats"))
    return type(toy_run)(tmp_path / "out", toy_run.run_id, toy_run.grid)


@pytest.fixture
def verify(copy, mmsoc, capsys):
    """Audit the copy; returns the exit status and what was said."""

    def call(*options: object) -> tuple[int, str]:
        status = mmsoc("verify", copy.folder, *options)
        said = capsys.readouterr()
        return status, said.out + said.err

    return call


def unit(copy, model="tiny", name="toy_memes-test-00000-00000"):
    (file,) = copy.folder.glob(f"model={model}/config=*/predictions/{name}.parquet")
    return file


def rewrite(file, change):
    """Write a unit's file again with changed rows, as a whole file with good checksums."""
    table = pq.read_table(file, partitioning=None)
    rows = table.to_pylist()
    change(rows)
    file.unlink()
    write_unit(open_storage(file.parent), file.name, pa.Table.from_pylist(rows, schema=table.schema))


def test_an_honest_run_holds_what_it_claims(verify):
    status, said = verify()
    assert status == 0
    assert "holds what it claims: 15 units, 100 predictions with their keys, 12 cells" in said
    assert "incomplete" not in said


def test_a_flipped_bit_in_any_file_is_found(copy, verify):
    generator = random.Random(20261122)
    files = sorted(file for file in copy.root.rglob("*") if file.is_file())
    assert len(files) == 15 + 12 + 3 * 2 + 3
    for file in 3 * files:
        honest = file.read_bytes()
        damaged = bytearray(honest)
        damaged[generator.randrange(len(honest))] ^= 1 << generator.randrange(8)
        file.write_bytes(damaged)
        status, said = verify()
        assert status == 1, file
        assert "lie: " in said
        file.write_bytes(honest)
    assert verify()[0] == 0


def test_any_deleted_file_is_found(copy, verify):
    for file in sorted(file for file in copy.root.rglob("*") if file.is_file()):
        honest = file.read_bytes()
        file.unlink()
        status, said = verify()
        if file.parent.name == "manifests":
            assert (status, "has no manifest yet" in said) == (0, True)
        else:
            assert status == 1, file
            assert str(file) in said
        file.write_bytes(honest)


@pytest.mark.parametrize("name", ["toy_memes-test-00000-00009", "toy_memes-test-00000-00000-copy", "copy"])
def test_a_duplicated_file_is_found(copy, verify, name):
    source = unit(copy)
    shutil.copy(source, source.with_name(f"{name}.parquet"))
    status, said = verify()
    assert status == 1
    assert f"{name}.parquet: is no unit of the plan" in said


def test_a_unit_in_another_ones_place_is_found(copy, verify):
    shutil.copy(unit(copy), unit(copy, name="toy_memes-test-00000-00001"))
    status, said = verify()
    assert status == 1
    assert "unit_id is 'toy_memes-test-00000-00000' where 'toy_memes-test-00000-00001' was planned" in said


def test_posts_that_stand_in_two_units_are_found(copy, verify):
    first = pq.read_table(unit(copy), partitioning=None).to_pylist()

    def repeat(rows):
        for row, other in zip(rows, first, strict=True):
            row.update({name: value for name, value in other.items() if name != "unit_id"})

    rewrite(unit(copy, name="toy_memes-test-00000-00001"), repeat)
    status, said = verify("--all")
    assert status == 1
    assert "posts of toy_memes-test stand in more than one unit" in said


@pytest.mark.parametrize(
    ("column", "value", "said_of_it"),
    [
        ("prompt", "another question", "row_key"),
        ("image_sha256", "0" * 64, "row_key"),
        ("row_key", "0" * 64, "row_key"),
        ("run_id", "toy-2", "run_id is 'toy-2'"),
        ("model", "majority", "model is 'majority'"),
        ("task", "tagging", "was not asked"),
        ("round", 1, "was not asked"),
        ("post_key", "toy_memes/test/m99", "5 posts, 4 were planned"),
        ("split", "train", "split is 'train'"),
        ("output", "humorous, of course", "_SUCCESS.json: does not say what its units hold"),
        ("score", 0.5, "_SUCCESS.json: does not say what its units hold"),
        ("reference", ["not_humorous"], "checksums.json: does not say the bytes"),
        ("latency_s", 0.25, "checksums.json: does not say the bytes"),
    ],
)
def test_an_edited_prediction_is_found(copy, verify, column, value, said_of_it):
    rewrite(unit(copy), lambda rows: rows[0].update({column: value}))
    status, said = verify("--all")
    assert status == 1
    assert said_of_it in said


def test_an_edited_cell_is_found(copy, verify):
    (file,) = copy.folder.glob("cells/tiny/none/zero_shot/humor/toy_memes/test.json")
    content = json.loads(file.read_text())
    content["metrics"]["accuracy"]["value"] = 1.0
    file.write_text(json.dumps(content, indent=1, sort_keys=True))
    status, said = verify()
    assert status == 1
    assert f"{file}: holds other scores than its predictions give" in said


def test_a_second_file_of_results_is_found(copy, verify):
    (table,) = copy.root.glob("results/run_id=toy-1/*.parquet")
    shutil.copy(table, table.with_name("part-1.parquet"))
    assert "part-1.parquet: does not belong to the results" in verify()[1]


def test_all_lies_are_told_where_asked_for(copy, verify):
    unit(copy).unlink()
    unit(copy, "majority").write_bytes(b"PAR1")
    status, said = verify("--all")
    assert status == 1
    assert said.count("lie: ") > 2
    assert "is sealed, and not there" in said
    assert "cannot be read" in said


def test_an_unknown_run_is_a_configuration_error(copy, mmsoc, capsys):
    assert mmsoc("verify", "toy-7", "--output", copy.root) == 2
    assert "has no run 'toy-7'. Runs: toy-1." in capsys.readouterr().err
