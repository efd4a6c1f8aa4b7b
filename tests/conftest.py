"""What tests share: a toy data set with bad posts among the good, a tiny checkpoint, one Ray, one finished run."""

from __future__ import annotations

import io
import os
import random
import runpy
import shutil
import signal
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_table import FaultTable
from hypothesis import settings
from loopback_hub import LoopbackHub
from PIL import Image

from mmsoc_ray.cli import main
from mmsoc_ray.data import Post, open_storage, write_split

# Before Ray or torch starts, here or in a process of a test: two busy cores are shared by many small models.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # a checkpoint waits for the next look at its worker
os.environ.pop("RAY_ADDRESS", None)

settings.register_profile("busy", deadline=None, max_examples=50)  # a loaded machine is no failure
settings.load_profile("busy")

TESTS = Path(__file__).parent
COSTS = pytest.StashKey[FaultTable]()
POSTS_PER_UNIT = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="seed of the schedule of kills"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COSTS] = FaultTable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what faults cost from a process of pytest-xdist to the one that prints it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["costs"] = session.config.stash[COSTS].plain()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what faults cost from a process of pytest-xdist; one that died sent nothing."""
    node.config.stash[COSTS].join(getattr(node, "workeroutput", {}).get("costs", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[COSTS].rows:
        terminalreporter.section(f"what faults cost, seed {config.getoption('--seed')}")
        for line in config.stash[COSTS].lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def fault_table(pytestconfig: pytest.Config) -> FaultTable:
    """What each fault cost; printed at the end."""
    return pytestconfig.stash[COSTS]


@pytest.fixture(scope="session")
def fault_seed(pytestconfig: pytest.Config) -> int:
    """The seed of the schedule of kills."""
    seed: int = pytestconfig.getoption("--seed")
    return seed


def picture(seed: int, *, width: int = 32, height: int = 24) -> bytes:
    """Return a PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def huge_picture(side: int = 50_000) -> bytes:
    """Return a PNG that claims to have so many pixels a side, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def meme(sample_id: str, split: str = "test", *, seed: int | None = None, **fields: object) -> Post:
    """Return a post of the toy memes; its labels follow from its number."""
    number = int(sample_id[1:])
    content: dict[str, object] = {"image": picture(number if seed is None else seed), "text": f"caption {number}"}
    targets = {
        "humor": ("humorous" if number % 3 else "not_humorous",),
        "sarcasm": ("sarcastic" if number % 2 else "not_sarcastic",),
    }
    return Post(sample_id, "toy_memes", split, targets=targets, **{**content, **fields})  # type: ignore[arg-type]


def toy_memes() -> list[Post]:
    """Return the posts of the toy memes: m2, m3 and m4 cannot be shown, m1 repeats m0."""
    good = {f"m{number}": meme(f"m{number}") for number in range(10)}
    bad = {
        "m1": meme("m1", seed=0, text="caption 0"),
        "m2": meme("m2", image=None),
        "m3": meme("m3", image=picture(3)[:100]),
        "m4": meme("m4", image=huge_picture()),
        "m5": meme("m5", text="word " * 200_000),
    }
    return list({**good, **bad}.values())


def toy_news(split: str, count: int) -> Iterator[Post]:
    """Yield posts with a text, a picture and a label for misinformation."""
    for number in range(count):
        label = "fake" if number % 3 == 0 else "true"
        targets = {"misinformation": (label,)}
        yield Post(f"n{number}", "toy_news", split, picture(100 + number), f"news item {number}", targets=targets)


@dataclass(frozen=True)
class Toy:
    """The toy data: two data sets, the memes with bad posts among the good.

    Attributes:
        data: Root of the data sets.
        memes: The posts of the memes' test split.
        checkpoint: A tiny picture-and-text model with random weights.
    """

    data: Path
    memes: list[Post]
    checkpoint: Path

    def grid(self, file: Path, *, models: str | None = None, data: Path | None = None) -> Path:
        """Write a grid over the toy data; ``models`` replaces the block of models."""
        own = f"  tiny: {{checkpoint: {self.checkpoint}, settings: [zero_shot, text_only], dtype: float32}}"
        file.write_text(
            f"name: toy\ndata: {data or self.data}\ndatasets: [toy_memes, toy_news]\n"
            "tasks:\n  humor: {max_new_tokens: 3}\n  sarcasm: {max_new_tokens: 3}\n"
            "  misinformation: {max_new_tokens: 3}\n"
            f"models:\n{models or '  majority:' + chr(10) + '  random:' + chr(10) + own}\n"
            "notes: [Toy data.]\n"
        )
        return file


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., bytes]:
    """Make a PNG of noise from a seed, a width and a height."""
    return picture


@pytest.fixture(scope="session")
def make_meme() -> Callable[..., Post]:
    """Make a post of the toy memes from its id, and fields that replace its own."""
    return meme


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Write the toy data and the tiny checkpoint."""
    folder = tmp_path_factory.mktemp("toy")
    data = open_storage(folder / "data")
    memes = toy_memes()
    write_split(data, "toy_memes", "test", memes, posts_per_unit=POSTS_PER_UNIT)
    write_split(data, "toy_memes", "train", [meme(f"m{number}", "train") for number in range(20, 27)])
    write_split(data, "toy_news", "test", toy_news("test", 5), posts_per_unit=POSTS_PER_UNIT)
    write_split(data, "toy_news", "train", toy_news("train", 4))
    (folder / "checkpoint").mkdir()
    runpy.run_path(str(TESTS / "engines" / "conftest.py"))["save_llava_checkpoint"](folder / "checkpoint")
    return Toy(folder / "data", memes, folder / "checkpoint")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A hub on loopback, empty; the client's cache is a folder of the test."""
    server = LoopbackHub()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    # The client reads its environment once, at import.
    template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray inside this process for all tests; its GPUs are logical."""
    import ray

    ray.init(
        address="local",
        num_cpus=6,
        num_gpus=4,
        object_store_memory=400 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    yield
    ray.shutdown()


Mmsoc = Callable[..., int]


@pytest.fixture(scope="session")
def mmsoc() -> Mmsoc:
    """Call the ``mmsoc`` command in this process; returns its exit status."""

    def call(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return call


@dataclass(frozen=True)
class ToyRun:
    """A finished run of the toy grid.

    Attributes:
        root: Output root.
        run_id: The run.
        grid: Its grid file.
    """

    root: Path
    run_id: str
    grid: Path

    @property
    def arguments(self) -> tuple[object, ...]:
        """The command that made it."""
        return ("run", self.grid, "--output", self.root, "--run-id", self.run_id)

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.root / "runs" / self.run_id


@pytest.fixture(scope="session")
def toy_run(toy: Toy, ray_session: None, mmsoc: Mmsoc, tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    """Run the toy grid once for all tests, which must leave it as it is."""
    folder = tmp_path_factory.mktemp("run")
    run = ToyRun(folder / "out", "toy-1", toy.grid(folder / "toy.yaml"))
    assert mmsoc(*run.arguments) == 0
    return run


@pytest.fixture
def copy(toy_run: ToyRun, tmp_path: Path) -> ToyRun:
    """A copy of the finished run, to be damaged and mended."""
    shutil.copytree(toy_run.root, tmp_path / "out")
    return ToyRun(tmp_path / "out", toy_run.run_id, toy_run.grid)


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start commands, each leading a process group of its own; what still runs after the test is killed."""
    started = []

    def start(command: list[Any], environment: dict[str, str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()
