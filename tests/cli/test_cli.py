import csv
import io
import json
import os
import signal
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.results.schema import RESULT_SCHEMA


@pytest.fixture
def no_ray(monkeypatch):
    """Fail where a command starts Ray."""
    monkeypatch.setattr("mmsoc_ray.grid.stream.start_ray", lambda address: pytest.fail("Ray was started"))


@pytest.fixture
def grid(toy, tmp_path):
    return toy.grid(tmp_path / "toy.yaml", models="  majority:\n  random:")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  humor:", "  humour:", "toy.yaml:5: tasks.humour: unknown task 'humour'. Did you mean 'humor'?"),
        (
            "  majority:",
            "  mayority:",
            "toy.yaml:9: models.mayority: unknown model 'mayority'. Did you mean 'majority'?",
        ),
        ("toy_news]", "toy_new]", "toy_new/test/manifest.json does not exist"),
        ("  random:", "  random: {gpus: 1}", "toy.yaml:10: models.random.gpus: unknown field 'gpus'."),
        ("  random:", "  own: {checkpoint: /nowhere}", "models.own.checkpoint: /nowhere/config.json cannot be read"),
    ],
    ids=["task", "model", "dataset", "field", "checkpoint"],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_wrong_grid_ends_with_2_before_ray_starts(command, old, new, message, grid, mmsoc, no_ray, capsys, tmp_path):
    assert old in grid.read_text()
    grid.write_text(grid.read_text().replace(old, new, 1))
    output = ("--output", tmp_path / "out") if command == "run" else ()
    assert mmsoc(command, grid, *output) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--models", "tiny", "--models: unknown model 'tiny'. Allowed: majority, random."),
        ("--tasks", "humour", "--tasks: unknown task 'humour'. Did you mean 'humor'?"),
        ("--tasks", " , ", "--models and --tasks take names separated by commas"),
        ("--limit", "0", "--limit 0: give a number of posts of at least 1"),
        ("--limit", "many", "Invalid value for '--limit'"),
        ("--run-id", "../x", "--run-id '../x': use letters, digits"),
        ("--run-id", "a\nb", "--run-id 'a\\nb'"),
        ("--output", "gs://bucket", "'gs://bucket' has the scheme 'gs'. Allowed: a local path, s3://."),
        ("--output", "s3://", "names no bucket"),
        ("--no-such-option", "1", "No such option"),
    ],
)
def test_a_wrong_option_ends_with_2_before_ray_starts(option, value, message, grid, mmsoc, no_ray, capsys, tmp_path):
    output = () if option == "--output" else ("--output", tmp_path / "out")
    assert mmsoc("run", grid, *output, option, value) == 2
    assert message in capsys.readouterr().err


def test_a_missing_grid_ends_with_2(mmsoc, capsys, tmp_path):
    assert mmsoc("plan", tmp_path / "absent.yaml") == 2
    assert "absent.yaml: cannot be read (No such file or directory)" in capsys.readouterr().err


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_an_output_that_cannot_be_written_ends_with_2_before_ray_starts(below, grid, mmsoc, no_ray, capsys, tmp_path):
    (tmp_path / "in-the-way").write_text("a file")
    assert mmsoc("run", grid, "--output", tmp_path / "in-the-way" / below) == 2
    message = capsys.readouterr().err
    assert f"--output {tmp_path}/in-the-way" in message
    assert "cannot be written" in message


def test_a_missing_shard_ends_with_2_before_ray_starts(grid, toy, mmsoc, no_ray, capsys, tmp_path):
    data = tmp_path / "data"
    for file in toy.data.rglob("*"):
        if file.is_file() and file.name != "shard-00000.parquet":
            copied = data / file.relative_to(toy.data)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(file.read_bytes())
    assert mmsoc("run", grid, "--data", data, "--output", tmp_path / "out") == 2
    assert (
        f"{data}/toy_memes/test/shard-00000.parquet is missing (1 of 1 shards of toy_memes/test)"
        in capsys.readouterr().err
    )


def test_a_submitted_job_refuses_a_relative_output(grid, mmsoc, no_ray, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.setattr(sys, "argv", [str(Path(sys.argv[0]).absolute())])
    monkeypatch.chdir(tmp_path)
    assert mmsoc("run", grid, "--output", "out") == 2
    assert "--output 'out' is relative, and a submitted job's folder vanishes with the job" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_with_130_and_the_command_that_resumes(grid, mmsoc, capsys, monkeypatch, tmp_path):
    def interrupt(address: str | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("mmsoc_ray.grid.stream.start_ray", interrupt)
    assert mmsoc("run", grid, "--output", tmp_path / "it's here") == 130
    message = capsys.readouterr().err
    assert "What is done is kept. Resume with:" in message
    assert f"""--output '{tmp_path}/it'"'"'s here'""" in message


def test_the_plan_counts_cells_posts_and_requests(grid, mmsoc, capsys):
    assert mmsoc("plan", grid) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["toy_memes/test", "10", "humor", "sarcasm"] in shown
    assert ["random", "zero_shot", "3", "15", "25"] in shown
    assert ["all", "6", "50"] in shown


def test_the_table_of_a_run_is_printed_by_folder_and_by_id(toy_run, mmsoc, capsys):
    assert mmsoc("table", toy_run.folder) == 0
    by_folder = capsys.readouterr().out
    assert mmsoc("table", "toy-1", "--output", toy_run.root) == 0
    assert capsys.readouterr().out == by_folder
    assert mmsoc("table", f"{toy_run.folder}/") == 0
    assert capsys.readouterr().out == by_folder
    for shown in ("majority", "tiny", "zero_shot", "text_only", "humor", "misinformation", "Toy data."):
        assert shown in by_folder


def test_a_table_as_csv_holds_every_row_and_column(toy_run, mmsoc, capsys):
    assert mmsoc("table", toy_run.folder, "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    stored = pq.read_table(toy_run.root / "results").to_pylist()
    assert list(rows[0]) == RESULT_SCHEMA.names
    assert len(rows) == len(stored)
    assert {(r["model"], r["metric"], r["value"]) for r in rows} == {
        (r["model"], r["metric"], "" if r["value"] is None else repr(r["value"])) for r in stored
    }


def test_a_table_as_json_holds_every_row(toy_run, mmsoc, capsys):
    assert mmsoc("table", toy_run.folder, "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    stored = {
        (r["model"], r["setting"], r["task"], r["metric"]): r
        for r in pq.read_table(toy_run.root / "results").to_pylist()
    }
    assert len(rows) == len(stored)
    for row in rows:
        found = stored[row["model"], row["setting"], row["task"], row["metric"]]
        assert (row["value"], row["ci_low"], row["n"], row["n_failed"]) == (
            found["value"],
            found["ci_low"],
            found["n"],
            found["n_failed"],
        )


def test_a_table_as_markdown_has_a_line_for_each_model_and_setting(toy_run, mmsoc, capsys):
    assert mmsoc("table", toy_run.folder, "--format", "markdown") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    shown = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in lines[2:]]
    assert sorted(shown) == [
        ("majority", "zero_shot"),
        ("random", "zero_shot"),
        ("tiny", "text_only"),
        ("tiny", "zero_shot"),
    ]


def test_a_table_is_drawn_into_an_svg(toy_run, mmsoc, tmp_path):
    assert mmsoc("table", toy_run.folder, "--svg", tmp_path / "table.svg") == 0
    assert (tmp_path / "table.svg").read_text().lstrip().startswith("<svg")


def test_an_unknown_run_lists_the_known_ones(toy_run, mmsoc, capsys, tmp_path):
    assert mmsoc("table", "toy-2", "--output", toy_run.root) == 2
    assert f"{toy_run.root} has no finished run 'toy-2'. Runs with a table: toy-1." in capsys.readouterr().err
    assert mmsoc("table", tmp_path / "out" / "runs" / "x") == 2
    assert "Runs with a table: (none)." in capsys.readouterr().err


def test_an_unknown_format_names_the_allowed_ones(toy_run, mmsoc, capsys):
    assert mmsoc("table", toy_run.folder, "--format", "xml") == 2
    message = capsys.readouterr().err
    for allowed in ("table", "markdown", "csv", "json"):
        assert allowed in message
