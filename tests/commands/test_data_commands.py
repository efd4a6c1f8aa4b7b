import pytest

from mmsoc_ray.data import open_storage, read_manifest

MAPPING = """\
dataset: my_memes
files: {test: labels.csv}
sample_id: id
image: {column: file, folder: pictures}
text: caption
targets:
  humor: {column: funny, labels: {1: humorous, 0: not_humorous}}
"""


@pytest.fixture
def memes(tmp_path, make_picture):
    """A folder of pictures, a CSV and a mapping; one picture is missing."""
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        (tmp_path / f"pictures/{number}.png").write_bytes(make_picture(number))
    (tmp_path / "labels.csv").write_text("id,file,caption,funny\na,0.png,x,1\nb,1.png,y,0\nc,2.png,z,1\nd,no.png,q,0\n")
    (tmp_path / "memes.yaml").write_text(MAPPING)
    return tmp_path


def test_prepare_writes_shards_and_prints_the_report(memes, mmsoc, capsys):
    output = memes / "out"
    assert mmsoc("data", "prepare", memes / "memes.yaml", "--source", memes, "--output", output) == 0
    shown = capsys.readouterr().out
    assert "my_memes: 4 rows read, 3 posts kept (test 3), 1 dropped" in shown
    assert "labels.csv, row 4: pictures/no.png" in shown
    assert read_manifest(open_storage(output), "my_memes", "test").posts == 3


def test_prepared_posts_are_planned_by_a_grid(memes, mmsoc, capsys):
    assert mmsoc("data", "prepare", memes / "memes.yaml", "--source", memes, "--output", memes / "out") == 0
    grid = "name: mine\ndata: {}\ndatasets: {{my_memes: {{fit_split: test}}}}\ntasks: [humor]\nmodels: [random]\n"
    (memes / "grid.yaml").write_text(grid.format(memes / "out"))
    assert mmsoc("plan", memes / "grid.yaml") == 0
    assert "my_memes/test" in capsys.readouterr().out


def test_strict_ends_with_2_and_writes_nothing(memes, mmsoc, capsys):
    command = ("data", "prepare", memes / "memes.yaml", "--source", memes, "--output", memes / "out", "--strict")
    assert mmsoc(*command) == 2
    assert "labels.csv, row 4: missing_picture (pictures/no.png)" in capsys.readouterr().err
    assert not (memes / "out").exists()


def test_splits_may_be_chosen_by_name(memes, mmsoc):
    command = ("data", "prepare", memes / "memes.yaml", "--source", memes, "--output", memes / "out")
    assert mmsoc(*command, "--splits", "head_80_20") == 0
    assert read_manifest(open_storage(memes / "out"), "my_memes", "train").posts == 3


def test_units_may_be_made_larger_or_smaller(memes, mmsoc):
    command = ("data", "prepare", memes / "memes.yaml", "--source", memes, "--output", memes / "out")
    assert mmsoc(*command) == 0
    posts = read_manifest(open_storage(memes / "out"), "my_memes", "test").posts
    assert posts > 1
    for options, units in (((), [posts]), (("--posts-per-unit", 1), [1] * posts)):
        assert mmsoc(*command, *options) == 0
        manifest = read_manifest(open_storage(memes / "out"), "my_memes", "test")
        assert [count for shard in manifest.shards for count in shard.unit_posts] == units


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("memes.yml", "--source", "."), "memes.yml: cannot be read"),
        (("memoton", "--source", "."), "unknown mapping 'memoton'. Did you mean 'memotion'?"),
        (("memotion", "--source", "gs://x"), "Allowed: a local path, s3://"),
        (("memotion", "--source", "/nowhere"), "/nowhere/data/*.parquet: no such file"),
        (("memotion", "--source", ".", "--splits", "head"), "--splits: unknown rule 'head'"),
    ],
)
def test_a_wrong_option_ends_with_2(options, message, mmsoc, capsys, tmp_path):
    assert mmsoc("data", "prepare", *options, "--output", tmp_path / "out") == 2
    assert message in capsys.readouterr().err


def test_an_assumed_layout_is_said(mmsoc, capsys, tmp_path):
    assert mmsoc("data", "prepare", "politifact", "--source", tmp_path, "--output", tmp_path / "out") == 2
    assert "the layout of politifact is assumed: the published columns were not found" in capsys.readouterr().err


def test_the_published_mappings_are_listed(mmsoc, capsys):
    assert mmsoc("data", "mappings") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("memotion ") and "(assumed layout)" not in line for line in lines)
    assert any(line.startswith("politifact ") and line.endswith("(assumed layout)") for line in lines)


def test_a_split_of_an_earlier_division_is_pointed_out(memes, mmsoc, capsys):
    command = ("data", "prepare", memes / "memes.yaml", "--source", memes, "--output", memes / "out")
    assert mmsoc(*command) == 0
    assert "stood there before" not in capsys.readouterr().err
    assert mmsoc(*command, "--splits", "head_90_10") == 0
    assert "note: test stood there before and was not written now" in capsys.readouterr().err


def test_a_store_that_fails_ends_with_2_and_says_so(memes, mmsoc, capsys, monkeypatch):
    def fails(*_, **__):
        raise OSError(5, "Input/output error", "pictures/0.png")

    monkeypatch.setattr("mmsoc_ray.data.sources.convert._picture_file", fails)
    command = ("data", "prepare", memes / "memes.yaml", "--source", memes, "--output", memes / "out")
    assert mmsoc(*command) == 2
    message = capsys.readouterr().err
    assert "Input/output error: 'pictures/0.png'. What was written is not valid yet" in message
    assert "Traceback" not in message
