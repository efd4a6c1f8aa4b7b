"""A run that vLLM answers, in a process of its own: its engine or its actor is killed, and nothing is lost."""

from __future__ import annotations

import os
import runpy
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fault_kit import Job, ended_well, run_until, wait_until

from mmsoc_ray.data import Post, open_storage, write_split

POSTS = 160
ENGINE = "VLLM::EngineCor"
"""The kernel cuts the names of processes."""


def engines_below(process: psutil.Process) -> list[psutil.Process]:
    """Return vLLM's engines below a process."""
    found = []
    for child in process.children(recursive=True):
        try:
            found += [child] if child.name().startswith(ENGINE) else []
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory, make_picture: Callable[..., bytes]) -> Callable[[str], Path]:
    """Write a grid that an engine answers over pictures, two tasks of each, one with scores."""
    folder = tmp_path_factory.mktemp("vllm")
    posts = (
        Post(
            f"p{number}",
            "memes",
            "test",
            make_picture(number),
            f"caption {number}",
            targets={"humor": ("humorous",), "ocr": ("words",)},
        )
        for number in range(POSTS)
    )
    write_split(open_storage(folder / "data"), "memes", "test", posts, posts_per_unit=4)
    save = runpy.run_path(str(Path(__file__).parents[1] / "engines" / "conftest.py"))
    (folder / "checkpoint").mkdir()
    save["save_wider_checkpoint"]("idefics3", folder / "checkpoint")

    def write(engine: str) -> Path:
        path = folder / f"{engine}.yaml"
        path.write_text(
            f"name: memes\ndata: {folder / 'data'}\ndatasets: [memes]\n"
            "tasks: {humor: {max_new_tokens: 3, scored: true}, ocr: {max_new_tokens: 3}}\n"
            f"models:\n  tiny: {{checkpoint: {folder / 'checkpoint'}, engine: {engine}, dtype: float32, "
            "settings: [zero_shot]}\n"
        )
        return path

    return write


def shown(job: Job) -> dict[tuple[str, str], dict[str, Any]]:
    """Return each row's answer, by post and task."""
    rows = job.rows()
    kept = {(row["sample_id"], row["task"]): row for row in rows}
    assert len(kept) == len(rows), "a row stands twice"
    return kept


ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def expected(
    grids: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what transformers answers."""
    job = Job(tmp_path_factory.mktemp("plain") / "transformers", grids("transformers"), environment=ENVIRONMENT)
    try:
        run_until(ended_well, job, job.start())
    finally:
        job.kill()
    return shown(job)


@pytest.fixture
def job(grids: Callable[[str], Path], tmp_path: Path) -> Iterator[Job]:
    """Make a job that vLLM answers, with a Ray of its own; what it left running is ended."""
    made = Job(tmp_path / "vllm", grids("vllm"), environment=ENVIRONMENT)
    yield made
    made.kill()


@pytest.mark.parametrize("killed", ["engine", pytest.param("actor", marks=pytest.mark.faults)])
def test_a_kill_costs_no_row_and_leaves_no_process_behind(
    expected: dict[tuple[str, str], dict[str, Any]], job: Job, killed: str
) -> None:
    process = job.start()
    wait_until(lambda: process.poll() is not None or len(job.units()) >= 2, "two units are durable")
    assert process.poll() is None, job.said
    (engine,) = engines_below(psutil.Process(process.pid))
    os.kill(engine.pid if killed == "engine" else engine.ppid(), signal.SIGKILL)
    assert psutil.wait_procs([engine], timeout=60)[1] == []
    done = len(job.units())
    run_until(ended_well, job, process)

    assert done < POSTS / 4, "all was done before the kill"
    found = shown(job)
    assert found.keys() == expected.keys()
    assert {row["engine"] for row in found.values()} == {"vllm"}
    for place, row in found.items():
        assert (row["error"], row["output"]) == (None, expected[place]["output"])
        if row["label_scores"]:
            assert dict(row["label_scores"]) == pytest.approx(dict(expected[place]["label_scores"]), abs=1e-4)
