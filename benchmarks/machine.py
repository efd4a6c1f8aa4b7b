"""The machine that a benchmark ran on, as one line that every benchmark prints beside its figures.

    python benchmarks/machine.py

Benchmarks call ``machine_line``; timings of a busy machine are to be read as ratios.
"""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ray", "torch", "transformers")
"""Packages that shape most timings."""


def machine_line(packages: Iterable[str] = PACKAGES) -> str:
    """Return processor, cores, memory, accelerators, versions, time and load.

    The load is how many processes wanted a core, on average over the last minute: where that is more than the program
    itself keeps busy, others took part of the machine.

    Args:
        packages: Packages whose versions are told; those that are not installed are left out.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    now = datetime.datetime.now(datetime.UTC)
    told = [f"Python {platform.python_version()}", *filter(None, map(_told, packages))]
    return (
        f"machine: {_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {_accelerators()}; "
        f"{platform.system()} {platform.machine()}, {', '.join(told)}; {now:%Y-%m-%d %H:%M} UTC, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def _told(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor() or "unknown processor"
    names = (line.partition(":")[2].strip() for line in information.read_text().splitlines() if "model name" in line)
    return next(names, platform.machine())


def _accelerators() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "no GPU"
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\n")
    return ", ".join(filter(None, map(str.strip, names))) or "no GPU"


if __name__ == "__main__":
    print(machine_line())
