"""A grid that holds a mapping: its dataset is prepared on the way, once."""

import pytest

from mmsoc_ray.data import open_storage, read_manifest

GRID = """\
name: mine
data: {folder}/data
datasets:
  my_memes:
    source: {folder}/source
    mapping:
      files: {{test: labels.csv}}
      text: caption
      targets: {{humor: {{column: funny, labels: {{1: humorous, 0: not_humorous}}}}}}
    fit_split: test
tasks: [humor]
models: [random]
"""


@pytest.fixture
def grid(tmp_path):
    """A grid file beside its source."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/labels.csv").write_text("caption,funny\na,1\nb,0\nc,2\n")
    (tmp_path / "grid.yaml").write_text(GRID.format(folder=tmp_path))
    return tmp_path / "grid.yaml"


def planned(grid, mmsoc, capsys):
    """Plan the grid; return whether it prepared the dataset."""
    assert mmsoc("plan", grid) == 0
    return "preparing my_memes from" in capsys.readouterr().err


def test_it_is_prepared_once_and_says_what_it_dropped(grid, mmsoc, capsys):
    assert mmsoc("plan", grid) == 0
    said = capsys.readouterr()
    assert "labels.csv, row 3: humor: '2' is none of 1, 0" in said.err
    assert "my_memes/test" in said.out
    assert not planned(grid, mmsoc, capsys)


@pytest.mark.parametrize(("old", "new"), [("1: humorous", "2: humorous"), ("/source", "/elsewhere")])
def test_another_mapping_or_source_is_prepared_anew(old, new, grid, mmsoc, capsys):
    (grid.parent / "elsewhere").mkdir()
    (grid.parent / "elsewhere/labels.csv").write_text("caption,funny\nd,1\n")
    assert planned(grid, mmsoc, capsys)
    before = read_manifest(open_storage(grid.parent / "data"), "my_memes", "test").digest
    grid.write_text(grid.read_text().replace(old, new))
    assert planned(grid, mmsoc, capsys)
    assert read_manifest(open_storage(grid.parent / "data"), "my_memes", "test").digest != before
    assert not planned(grid, mmsoc, capsys)


def test_a_preparation_that_was_cut_short_starts_again(grid, mmsoc, capsys):
    assert planned(grid, mmsoc, capsys)
    (grid.parent / "data/my_memes/test/manifest.json").write_text("{}")
    assert planned(grid, mmsoc, capsys)


def test_shards_of_the_command_by_another_mapping_are_not_taken_for_its_own(grid, mmsoc, capsys):
    assert planned(grid, mmsoc, capsys)
    mapping = "dataset: my_memes\nfiles: {test: labels.csv}\ntext: funny\ntargets: {ocr: caption}\n"
    (grid.parent / "other.yaml").write_text(mapping)
    command = ("data", "prepare", grid.parent / "other.yaml", "--source", grid.parent / "source")
    assert mmsoc(*command, "--output", grid.parent / "data") == 0
    assert planned(grid, mmsoc, capsys)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "text: caption",
            "txt: caption",
            ":8: datasets.my_memes.mapping.txt: unknown field 'txt'. Did you mean 'text'",
        ),
        ("1: humorous", "1: funny", ":9: datasets.my_memes.mapping.targets.humor.labels.1: unknown label of humor"),
        ("      files:", "      dataset: b\n      files:", ":7: datasets.my_memes.mapping.dataset: the grid calls it"),
    ],
)
def test_a_wrong_mapping_names_its_line_in_the_grid(old, new, message, grid, mmsoc, capsys):
    assert old in grid.read_text()
    grid.write_text(grid.read_text().replace(old, new, 1))
    assert mmsoc("plan", grid) == 2
    assert f"grid.yaml{message}" in capsys.readouterr().err


def test_a_source_goes_with_a_mapping_and_with_data_of_ones_own(grid, mmsoc, capsys):
    whole = grid.read_text()
    grid.write_text(whole.replace(f"    source: {grid.parent}/source\n", ""))
    assert mmsoc("plan", grid) == 2
    assert "datasets.my_memes.mapping: maps nothing. Name the source" in capsys.readouterr().err
    grid.write_text(whole.replace(f"{grid.parent}/data", "demo"))
    assert mmsoc("plan", grid) == 2
    assert "data: my_memes cannot be prepared among the demo data" in capsys.readouterr().err
    grid.write_text(whole[: whole.index("    mapping:")] + whole[whole.index("    fit_split:") :])
    assert mmsoc("plan", grid) == 2
    assert "datasets.my_memes.source: without a mapping nobody knows" in capsys.readouterr().err
