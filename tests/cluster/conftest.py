"""A real Ray head on this machine, with token authentication on, and a checkout to submit jobs from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import site
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
PORTS = (
    "--port",
    "--dashboard-port",
    "--ray-client-server-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
)
START_S = 300.0
STORAGE_SECRET = "kX9-storage-secret-of-the-node-7Qz"


@dataclass(frozen=True)
class Head:
    """A running head.

    Attributes:
        address: Address of its dashboard, to which jobs are submitted.
        token: Its token.
        secret: The key to storage in the environment of its node.
        folder: Ray's temporary folder of this head.
        environment: What a client needs in its environment to be let in.
    """

    address: str
    token: str
    secret: str
    folder: Path
    environment: dict[str, str]

    def ask(self, path: str, *, token: str | None) -> tuple[int, str]:
        """Ask the dashboard; returns the status and the body."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{self.address}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def job(self, submission_id: str) -> dict[str, Any]:
        """Return all that the head tells about a job."""
        status, body = self.ask(f"/api/jobs/{submission_id}", token=self.token)
        assert status == 200, body
        return dict(json.loads(body))


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of executables of a Python with all dependencies, but without mmsoc_ray: what a node's image holds.

    Editable installs stand in ``.pth`` files, which are not read from a folder that another ``.pth`` names.
    """
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    ray = folder / "bin" / "ray"
    ray.write_text(f"#!{folder}/bin/python\nimport sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n")
    ray.chmod(0o755)
    return folder / "bin"


@pytest.fixture(scope="session")
def head(bare_python: Path) -> Iterator[Head]:
    """Start a head; afterwards end its processes, and no others."""
    with ExitStack() as cleanup:
        # Sockets below this folder must stay under 107 characters, which pytest's own folders exceed.
        folder = Path(tempfile.mkdtemp(prefix="mh", dir="/tmp"))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        token_file = folder / "token"
        token_file.write_text("0123456789abcdef" * 4)
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        client = plain_environment(bare_python, home=folder) | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
            "RAY_ADDRESS": f"http://127.0.0.1:{ports['--dashboard-port']}",
        }
        node = {name: value for name, value in client.items() if name != "RAY_ADDRESS"} | {
            "RAY_JOB_STOP_WAIT_TIME_S": "30",
            "AWS_ACCESS_KEY_ID": "AKIA-OF-THE-NODE",
            "AWS_SECRET_ACCESS_KEY": STORAGE_SECRET,
        }
        command = [bare_python / "ray", "start", "--head", "--block", "--dashboard-host=127.0.0.1"]
        command += ["--num-cpus=3", f"--object-store-memory={200 * 2**20}"]
        command += [f"--temp-dir={folder}", "--disable-usage-stats", *(f"{k}={v}" for k, v in ports.items())]
        log = cleanup.enter_context((folder / "head.log").open("w"))
        process = subprocess.Popen(command, env=node, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        cleanup.callback(end, process, folder)
        running = Head(client["RAY_ADDRESS"], token_file.read_text(), STORAGE_SECRET, folder, client)
        wait_for(running, process)
        yield running


def plain_environment(executables: Path, *, home: Path) -> dict[str, str]:
    """Return an environment that owes nothing to who runs the tests."""
    return {
        "PATH": os.pathsep.join([str(executables), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for(head: Head, process: subprocess.Popen[bytes]) -> None:
    """Return once the head takes jobs."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if head.ask("/api/jobs/", token=head.token)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail(f"the head did not start: {(head.folder / 'head.log').read_text()[-2000:]}")


def end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End a head as Ctrl-C does, and whatever it leaves: known by descent, or by its own folder on the command line."""
    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    started += [one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or ())]
    _, alive = psutil.wait_procs(started, timeout=5)
    for one in alive:
        one.kill()
    psutil.wait_procs(alive, timeout=5)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as it looks after a while: code, and beside it an environment, data, outputs and a file of keys."""
    folder = tmp_path_factory.mktemp("checkout")
    hidden = shutil.ignore_patterns("__pycache__")
    for name in ("mmsoc_ray", "jobs", "grids"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=hidden)
    for name in (".gitignore", ".rayignore", "pyproject.toml", "cluster.yaml"):
        shutil.copy(REPOSITORY / name, folder / name)
    leftovers = (".git/config", ".venv/lib/torch.so", "mmsoc-output/runs/a/plan.json", "mmsoc-data/a/shard.parquet")
    for name in (*leftovers, "elsewhere/shard-00000.parquet", "tests/test_a.py", ".env", "jobs/__pycache__/a.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("must stay here")
    return folder
