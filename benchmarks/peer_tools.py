"""The tools that the benchmark `peers` compares: how each is installed and called, and where its answers lie."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
from peer_data import MAX_NEW_TOKENS, Key, PeerData

from mmsoc_ray.models.cache import cache_folder, cached_folder

ENVIRONMENTS = Path(__file__).resolve().parent / "peer_environments"
FULL_GRID = Path(__file__).resolve().parent.parent / "jobs" / "full_grid.py"
TASKS = ",".join(f"peer_{task}" for task in MAX_NEW_TOKENS)
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
Command = list[str | Path]
_DONE = re.compile(r"(\d+)/(\d+) \[(?:(\d+):)?(\d+):(\d+)<")
"""Of a progress bar: done, planned, hours, minutes and seconds."""


@dataclass(frozen=True)
class Work:
    """One job of one tool.

    Attributes:
        data: What is asked.
        dtype: Type of the weights, ``float32`` or ``bfloat16``.
        folder: Takes all that the tool writes; the same folder again resumes.
    """

    data: PeerData
    dtype: str
    folder: Path


@dataclass(frozen=True)
class Answers:
    """The durable answers of a job.

    Attributes:
        outputs: By sample and task.
        duplicated: Answers beyond the first to a request.
        written: When the last file of answers was written, seconds since the epoch.
    """

    outputs: Mapping[Key, str]
    duplicated: int
    written: float


class Tool(Protocol):
    """What the benchmark needs of a tool. Logs are those of the processes that did the job, in order."""

    @property
    def name(self) -> str:
        """Name and, of a peer, version and kind of model."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of its process."""
        ...

    def install(self) -> None:
        """Make the tool's own environment, where it needs one and has none."""
        ...

    def command(self, work: Work) -> Command:
        """Return the command that does the job, or what is left of it."""
        ...

    def answered(self, work: Work, log: Path) -> int:
        """Return how many answers the tool has, by its own account, while it runs."""
        ...

    def asked(self, work: Work, logs: Sequence[Path]) -> int:
        """Return how many requests the model was asked, repeated ones each time."""
        ...

    def loop_s(self, work: Work, log: Path) -> float:
        """Return the seconds from the loaded model to the last answer."""
        ...

    def answers(self, work: Work) -> Answers:
        """Read what is durable."""
        ...


@dataclass(frozen=True)
class MmsocRay:
    """This project: a run of a grid; no answer is taken over from another run.

    Two engines of one thread are the faster, one of two threads takes less memory.
    """

    engines: int = 2

    @property
    def name(self) -> str:
        """The project, with how many engines."""
        return f"mmsoc_ray, {'two engines' if self.engines == 2 else 'one engine'}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Ray's workers as important as other programs: they step back (niceness 15), which the peers do not."""
        return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}

    def install(self) -> None:
        """Do nothing: this is its environment."""

    def command(self, work: Work) -> Command:
        """Return ``mmsoc run``."""
        grid = work.data.grid(work.dtype, self.engines)
        return [sys.executable, FULL_GRID, grid, "--output", work.folder, "--run-id", "peers", "--reuse", "none"]

    def answered(self, work: Work, log: Path) -> int:
        """Count the rows of the units that are written."""
        return sum(pq.read_metadata(file).num_rows for file in self._units(work))

    def asked(self, work: Work, logs: Sequence[Path]) -> int:
        """Count the requests of every unit as often as it was begun."""
        tries = Counter(file.parent.name for file in self._config(work, "attempts/*/try-*.json"))
        return sum(pq.read_metadata(file).num_rows * tries[file.stem] for file in self._units(work))

    def loop_s(self, work: Work, log: Path) -> float:
        """Return the seconds from the first loaded engine to the last unit written."""
        loaded = min(file.stat().st_mtime for file in self._config(work, "attempts/loading/*/*-loaded.json"))
        return self.answers(work).written - loaded

    def answers(self, work: Work) -> Answers:
        """Read the units' files."""
        files = self._units(work)
        tables = [pq.read_table(file, columns=["sample_id", "task", "output"]) for file in files]
        rows = [((row["sample_id"], row["task"]), row["output"] or "") for table in tables for row in table.to_pylist()]
        return _answers(rows, files)

    def _units(self, work: Work) -> list[Path]:
        return self._config(work, "predictions/*.parquet")

    def _config(self, work: Work, pattern: str) -> list[Path]:
        return sorted(work.folder.glob(f"runs/*/model=*/config=*/{pattern}"))


@dataclass(frozen=True)
class LmEval:
    """lm-evaluation-harness, ``hf-multimodal``: static batches in the order of their length."""

    batch_size: int = 16
    name: str = "lm_eval 0.4.13 hf-multimodal"
    bar: str = "Running generate_until requests"

    @property
    def environment(self) -> Mapping[str, str]:
        """No call to a hub."""
        return OFFLINE

    def install(self) -> None:
        """Install it with what it needs."""
        python_of("lm_eval")

    def command(self, work: Work) -> Command:
        """Return its command, with the cache of answers that it has for resuming."""
        model = f"pretrained={work.data.checkpoint},dtype={work.dtype},max_images=1"
        options: Command = ["--apply_chat_template", "--batch_size", str(self.batch_size), "--log_samples"]
        options += ["--output_path", work.folder / "out", "--use_cache", work.folder / "cache"]
        asked: Command = ["--tasks", TASKS, "--include_path", work.data.folder / "lm_eval"]
        start: Command = [
            python_of("lm_eval"),
            "-m",
            "lm_eval",
            "run",
            "--model",
            "hf-multimodal",
            "--model_args",
            model,
        ]
        return [*start, "--device", "cpu", *asked, *options]

    def answered(self, work: Work, log: Path) -> int:
        """Read its progress bar."""
        return _progress(log, self.bar)[0]

    def asked(self, work: Work, logs: Sequence[Path]) -> int:
        """Add up its progress bars."""
        return sum(self.answered(work, log) for log in logs)

    def loop_s(self, work: Work, log: Path) -> float:
        """Read its progress bar."""
        return _progress(log, self.bar)[1]

    def answers(self, work: Work) -> Answers:
        """Read the samples that it logs at its end."""
        files = sorted((work.folder / "out").glob("**/*samples_peer_*.jsonl"))
        rows = [(_key(work, file, line), _text(line["filtered_resps"])) for file in files for line in _lines(file)]
        return _answers(rows, files)

    def framed_prompts(self, work: Work) -> dict[Key, str]:
        """Return the prompts as the model read them, where the samples tell."""
        files = sorted((work.folder / "out").glob("**/*samples_peer_*.jsonl"))
        lines = ((file, line) for file in files for line in _lines(file) if "arguments" in line)
        return {_key(work, file, line): line["arguments"]["gen_args_0"]["arg_0"] for file, line in lines}


@dataclass(frozen=True)
class LmmsEval(LmEval):
    """lmms-eval, ``llava_hf``: one request at a time (its wrapper refuses larger batches)."""

    name: str = "lmms_eval 0.7.3 llava_hf"
    bar: str = "Model Responding"

    def install(self) -> None:
        """Install it with what it needs."""
        python_of("lmms_eval")

    def command(self, work: Work) -> Command:
        """Return its command, with the cache of answers that it has for resuming."""
        model = f"pretrained={work.data.checkpoint},device=cpu,device_map=cpu,dtype={work.dtype}"
        start: Command = [python_of("lmms_eval"), ENVIRONMENTS / "lmms_eval_on_cpu.py", "--model", "llava_hf"]
        asked: Command = ["--model_args", model, "--tasks", TASKS, "--include_path", work.data.folder / "lmms_eval"]
        options: Command = ["--batch_size", "1", "--log_samples", "--output_path", work.folder / "out"]
        return [*start, *asked, *options, "--use_cache", work.folder / "cache"]


def python_of(tool: str) -> Path:
    """Return the interpreter of a peer's own environment, made at the first call from pinned packages.

    Raises:
        subprocess.CalledProcessError: A package could not be installed; pip has said why.
    """
    listed = ENVIRONMENTS / f"{tool}.txt"

    def make(folder: Path) -> None:
        print(f"installing {tool} into an environment of its own, once", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip: Command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--disable-pip-version-check", "-r", listed], check=True)

    digest = hashlib.sha256(listed.read_bytes()).hexdigest()[:12]
    return cached_folder(cache_folder() / "peers" / f"{tool}-{digest}", make) / "bin" / "python"


def _progress(log: Path, bar: str) -> tuple[int, float]:
    """Return how much a progress bar has counted, and in how many seconds."""
    if not log.exists():
        return 0, 0.0
    lines = (line for line in re.split(r"[\r\n]", log.read_text(errors="replace")) if line.startswith(bar))
    found = [match.groups() for line in lines if (match := _DONE.search(line))]
    if not found:
        return 0, 0.0
    done, _, hours, minutes, seconds = (int(part or 0) for part in found[-1])
    return done, float(hours * 3600 + minutes * 60 + seconds)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _key(work: Work, file: Path, line: Mapping[str, Any]) -> Key:
    task = next(task for task in MAX_NEW_TOKENS if f"peer_{task}" in file.name)
    return work.data.sample_ids[line["doc_id"]], task


def _text(responses: Any) -> str:
    while not isinstance(responses, str):
        responses = responses[0]
    return responses


def _answers(rows: Iterable[tuple[Key, str]], files: Sequence[Path]) -> Answers:
    outputs: dict[Key, str] = {}
    duplicated = 0
    for key, output in rows:
        duplicated += key in outputs
        outputs.setdefault(key, output)
    return Answers(outputs, duplicated, max((file.stat().st_mtime for file in files), default=0.0))
