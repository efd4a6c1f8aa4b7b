"""Children end with their parent, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PARENT = """
import multiprocessing, time
from mmsoc_ray.engines.companions import Companions

if __name__ == "__main__":
    companions = Companions()
    with companions.starting():
        child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(300,))
        child.start()
        if {loading}:
            print(child.pid, flush=True)
            time.sleep(300)
    print(child.pid, flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("loading", [True, False], ids=["while it starts them", "afterwards"])
def test_a_killed_process_takes_its_companions_along(loading: bool, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(loading=loading))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.5)  # longer than it takes to look for new children

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    assert psutil.wait_procs([child], timeout=20)[1] == []
