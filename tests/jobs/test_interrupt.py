"""Ctrl-C and SIGTERM on a run without a cluster, as a terminal and a process manager send them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from mmsoc_ray.data import Post, open_storage, write_split

REPOSITORY = Path(__file__).parents[2]
POSTS = 200
UNITS = POSTS // 2
"""One model, two posts a unit."""

WAIT_S = 600.0
RESULTS = "results/run_id=toy/part-0.parquet"
RESUME = re.compile(r"^Interrupted\. What is done is kept\. Resume with:\n  (.+)$", re.MULTILINE)
SIGNALS: dict[str, Callable[[int], None]] = {
    "ctrl-c in a terminal": lambda pid: os.killpg(pid, signal.SIGINT),
    "SIGINT to the process": lambda pid: os.kill(pid, signal.SIGINT),
    "SIGTERM to the process": lambda pid: os.kill(pid, signal.SIGTERM),
}


@dataclass(frozen=True)
class Interruption:
    """How an interrupted run ended.

    Attributes:
        status: Its exit status.
        output: All that it printed.
        kept: Units that it left, with the bytes of each.
        files: Names of all files and folders that it left.
        processes: How many processes it had started.
        orphans: Those of them that outlived it, by command.
    """

    status: int
    output: str
    kept: dict[str, bytes]
    files: set[str]
    processes: int
    orphans: list[str]


def units(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.glob("runs/*/*/*/predictions/*.parquet")}


def start(command: str, log: Path) -> subprocess.Popen[bytes]:
    """Start a pasted command in a session of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"OMP_NUM_THREADS": "1", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    with log.open("wb") as out:
        return subprocess.Popen(
            f"exec {command}",
            shell=True,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def interrupt(command: str, root: Path, log: Path, send: Callable[[int], None]) -> Interruption:
    """Start a run, interrupt it once it has added a few units, and look at what is left."""
    before = len(units(root))
    process = start(command, log)
    try:
        deadline = time.monotonic() + WAIT_S
        while len(units(root)) < before + 3:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        send(process.pid)
        status = process.wait(60)
        _, alive = psutil.wait_procs(children, timeout=60)  # Ray's agents look for their raylet from time to time
        orphans = [shlex.join(one.cmdline()) for one in alive if one.is_running()]
    finally:
        if process.poll() is None:
            process.kill()
    files = {path.name for path in root.rglob("*")}
    return Interruption(status, log.read_text(), units(root), files, len(children), orphans)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and a grid of a baseline; the folder's name needs quoting."""
    folder = tmp_path_factory.mktemp("it's $HOME")
    data = open_storage(folder / "data")
    for split, count in (("train", 10), ("test", POSTS)):
        labels = ({"sarcasm": (("sarcastic", "not_sarcastic")[number % 2],)} for number in range(count))
        posts = (Post(str(number), "toy", split, text="a", targets=label) for number, label in enumerate(labels))
        write_split(data, "toy", split, posts, posts_per_unit=2)
    (folder / "toy.yaml").write_text(
        f'name: toy\ndata: "{folder}/data"\ndatasets: [toy]\ntasks: [sarcasm]\nmodels: [majority]\n'
    )
    return folder


def command(folder: Path, root: str) -> str:
    arguments = [sys.executable, "jobs/full_grid.py", str(folder / "toy.yaml"), "--output", str(folder / root)]
    return shlex.join(arguments)


@pytest.fixture(scope="module")
def interruptions(folder: Path) -> dict[str, Interruption]:
    """One run, interrupted in every way: each next start is the command that the one before printed."""
    ended: dict[str, Interruption] = {}
    resume = command(folder, "disturbed")
    for name, send in SIGNALS.items():
        ended[name] = interrupt(resume, folder / "disturbed", folder / f"{name}.log", send)
        (resume,) = RESUME.findall(ended[name].output)
    last = start(resume, folder / "last.log")
    assert last.wait(WAIT_S) == 0, (folder / "last.log").read_text()
    return ended


@pytest.mark.parametrize("name", SIGNALS)
def test_an_interrupted_run_exits_with_130_and_leaves_nothing_running(
    interruptions: dict[str, Interruption], name: str
) -> None:
    ended = interruptions[name]
    assert ended.status == 130, ended.output
    assert ended.processes > 3
    assert not ended.orphans
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("name", SIGNALS)
def test_an_interrupted_run_keeps_its_units_and_seals_nothing(
    interruptions: dict[str, Interruption], folder: Path, name: str
) -> None:
    ended = interruptions[name]
    assert 3 <= len(ended.kept) < UNITS
    assert not {"results", "manifests", "_SUCCESS.json"} & ended.files
    final = units(folder / "disturbed")
    assert {unit: final[unit] for unit in ended.kept} == ended.kept


def test_the_printed_command_resumes_to_the_table_of_an_undisturbed_run(
    interruptions: dict[str, Interruption], folder: Path
) -> None:
    undisturbed = start(command(folder, "undisturbed"), folder / "undisturbed.log")
    assert undisturbed.wait(WAIT_S) == 0, (folder / "undisturbed.log").read_text()
    assert len(units(folder / "disturbed")) == UNITS
    assert (folder / "disturbed" / RESULTS).read_bytes() == (folder / "undisturbed" / RESULTS).read_bytes()
