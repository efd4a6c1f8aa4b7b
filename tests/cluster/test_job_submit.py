"""``ray job submit``, as docs/CLUSTER.md shows it, on a real head with token authentication."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from mmsoc_ray.data import Post, open_storage, write_split

POSTS = 240
UNITS = 2 * POSTS // 2
"""Two models, two posts a unit."""
WAIT_S = 600.0
SUBMIT = re.compile(r"^ray job submit .* grids/demo.yaml .*$", re.MULTILINE)
"""The command that docs/CLUSTER.md shows."""

RESUME = re.compile(r"^  (ray job submit .*)$", re.MULTILINE)


class Head(Protocol):
    address: str
    token: str
    secret: str
    folder: Path
    environment: dict[str, str]

    def ask(self, path: str, *, token: str | None) -> tuple[int, str]: ...
    def job(self, submission_id: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Story:
    """One run, submitted three times: stopped in the middle, resumed to its end, submitted once more.

    Attributes:
        root: Output root.
        kept: Units that the stopped job left, with the bytes of each.
        files: All files that it left.
        stopped_log: Log of the stopped job.
        resumed: The client that pasted the command of the stopped job's log.
        again: The client that submitted the finished run again.
    """

    root: Path
    kept: dict[str, bytes]
    files: list[str]
    stopped_log: str
    resumed: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]


def shell(command: str, head: Head, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would type it; an empty value takes a variable away."""
    names = {name: value for name, value in (head.environment | environment).items() if value}
    return subprocess.run(command, shell=True, cwd=folder, env=names, capture_output=True, text=True, timeout=WAIT_S)


def submit(grid: Path, output: str, *options: str) -> str:
    """Return the documented command for another grid and output, with further options of ``ray job submit``."""
    (shown,) = SUBMIT.findall((Path(__file__).parents[2] / "docs" / "CLUSTER.md").read_text())
    for old, new in (("grids/demo.yaml", str(grid)), ("/srv/mmsoc", output)):
        assert old in shown
        shown = shown.replace(old, shlex.quote(new))
    return shown.replace("ray job submit", shlex.join(["ray", "job", "submit", *options]), 1)


def units(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.glob("runs/*/*/*/predictions/*.parquet")}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of the baselines over many small units; its folder's name needs quoting."""
    folder = tmp_path_factory.mktemp("it's a toy")
    data = open_storage(folder / "data")
    for split, count in (("train", 10), ("test", POSTS)):
        labels = ({"sarcasm": (("sarcastic", "not_sarcastic")[number % 2],)} for number in range(count))
        posts = (Post(str(number), "toy", split, text="a", targets=label) for number, label in enumerate(labels))
        write_split(data, "toy", split, posts, posts_per_unit=2)
    file = folder / "toy.yaml"
    file.write_text(
        f'name: toy\ndata: "{folder}/data"\ndatasets: [toy]\ntasks: [sarcasm]\nmodels: [majority, random]\n'
    )
    return file


@pytest.fixture(scope="module")
def story(head: Head, checkout: Path, grid: Path) -> Story:
    root = grid.parent / "out put"
    started = shell(submit(grid, str(root), "--no-wait", "--submission-id=nightly-1"), head, checkout)
    assert started.returncode == 0, started.stderr
    deadline = time.monotonic() + WAIT_S
    while len(units(root)) < 3:
        info = head.job("nightly-1")
        assert info["status"] in ("PENDING", "RUNNING"), info
        assert time.monotonic() < deadline, info
        time.sleep(0.1)
    assert shell("ray job stop nightly-1", head, checkout).returncode == 0
    kept, files = units(root), [file.name for file in root.rglob("*")]
    log = shell("ray job logs nightly-1", head, checkout).stdout
    (resume,) = RESUME.findall(log)
    resumed = shell(resume, head, checkout)
    again = shell(submit(grid, str(root), "--submission-id=nightly-3"), head, checkout)
    return Story(root, kept, files, log, resumed, again)


def test_a_stopped_job_keeps_what_is_done(head: Head, story: Story) -> None:
    assert head.job("nightly-1")["status"] == "STOPPED"
    assert 3 <= len(story.kept) < UNITS
    assert not {"manifests", "results"} & set(story.files)
    assert {name: units(story.root)[name] for name in story.kept} == story.kept


def test_a_stopped_job_prints_the_command_that_resumes_it(story: Story) -> None:
    assert "Interrupted. What is done is kept." in story.stopped_log
    assert story.resumed.returncode == 0, story.resumed.stdout + story.resumed.stderr
    assert f"posts=0/{POSTS}" not in story.resumed.stdout.split("model=majority")[1].splitlines()[0]


def test_the_finished_job_leaves_a_sealed_table_and_prints_it(story: Story) -> None:
    assert len(units(story.root)) == UNITS
    assert len(list(story.root.glob("runs/nightly/*/*/_SUCCESS.json"))) == 2
    assert (story.root / "manifests" / "nightly.json").is_file()
    assert (story.root / "results" / "run_id=nightly" / "part-0.parquet").is_file()
    assert re.search(rf"toy \({POSTS}\)", story.resumed.stdout)
    assert all(model in story.resumed.stdout for model in ("majority", "random"))


def test_submitting_a_finished_run_again_finds_nothing_to_do(story: Story) -> None:
    assert story.again.returncode == 0, story.again.stdout + story.again.stderr
    assert "Nothing was left to do" in story.again.stdout
    assert "starting Ray" not in story.again.stdout


def test_a_relative_output_is_refused_before_anything_is_spent(head: Head, checkout: Path, grid: Path) -> None:
    refused = shell(submit(grid, "results", "--submission-id=relative"), head, checkout)
    assert refused.returncode == 1
    assert "--output 'results' is relative" in refused.stdout
    assert "s3://BUCKET/PREFIX" in refused.stdout
    assert "starting Ray" not in refused.stdout
    job = head.job("relative")
    assert (job["status"], job["driver_exit_code"]) == ("FAILED", 2)
    assert not list(head.folder.glob("session_2*/runtime_resources/working_dir_files/*/results"))


def test_a_client_without_the_token_is_refused(head: Head, checkout: Path) -> None:
    stranger = shell("ray job list", head, checkout, RAY_AUTH_TOKEN_PATH="", RAY_AUTH_MODE="")
    assert stranger.returncode != 0
    assert "uthentication" in stranger.stdout + stranger.stderr
    assert head.ask("/api/jobs/", token=None)[0] == 401
    assert head.ask("/api/jobs/", token="f" * 64)[0] in (401, 403)


def test_the_upload_holds_the_code_and_nothing_else(head: Head, checkout: Path, story: Story) -> None:
    (uploaded,) = head.folder.glob("session_2*/runtime_resources/working_dir_files/_ray_pkg_*/")
    names = {path.relative_to(uploaded).as_posix() for path in uploaded.rglob("*") if path.is_file()}
    wanted = {path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_file()}
    wanted = {name for name in wanted if (checkout / name).read_bytes() != b"must stay here"}
    assert {name for name in names if "__pycache__" not in name} == wanted


def test_no_credential_is_visible_in_a_job(head: Head, checkout: Path, story: Story) -> None:
    here = [one for one in psutil.process_iter(["cmdline"]) if str(head.folder) in " ".join(one.info["cmdline"] or ())]
    assert head.secret in {one.environ().get("AWS_SECRET_ACCESS_KEY") for one in here}
    shown = [head.ask("/api/jobs/", token=head.token)[1], shell("ray job list", head, checkout).stdout]
    shown += [story.stopped_log, story.resumed.stdout, story.again.stdout]
    assert "nightly-1" in shown[0]
    assert "nightly-1" in shown[1]
    shown += [file.read_bytes().decode(errors="replace") for file in story.root.rglob("*") if file.is_file()]
    assert not [text for text in shown if head.secret in text or head.token in text]
