"""Time and memory of the index of known answers: at 100 million predictions it must hold 1 GiB at most.

    python benchmarks/reuse_index.py                          # 1 and 100 million keys
    python benchmarks/reuse_index.py 1000000 --files          # keys read from Parquet files, as a run does

Each count is measured in a process of its own. Keys are random, 80 to a file (a unit of 16 posts and five tasks);
half of the keys that are looked up are known. The peak is the system's count of the process' resident memory (VmHWM),
less what it held before the index was made.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from mmsoc_ray.grid.known_answers import KnownAnswers  # noqa: E402

COUNTS = (1_000_000, 100_000_000)
KEYS_A_FILE = 80
KEYS_A_LOOKUP = 80
LOOKUPS = 1000
BOUND = 2**30
FOLDER = "runs/nightly-2026-11-22/model=synthetic/config=c0123456789abcdef/predictions"


def path_of(file: int) -> str:
    """Return the path of a unit's file."""
    return f"{FOLDER}/synthetic-test-{file // 1024:05d}-{file % 1024:05d}.parquet"


def key_of(number: int) -> str:
    """Return the key of a number."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def from_memory(count: int) -> KnownAnswers:
    """Index random prefixes, and the keys that will be looked up among them."""
    generator = np.random.default_rng(0)
    index = KnownAnswers(count)
    known = LOOKUPS * KEYS_A_LOOKUP // 2
    for file in range(count // KEYS_A_FILE):
        first = file * KEYS_A_FILE
        if first < known:
            index.add(path_of(file), [key_of(number) for number in range(first, first + KEYS_A_FILE)])
        else:
            prefixes = generator.integers(0, 2**40, KEYS_A_FILE, np.uint64) << np.uint64(24)
            index.add_prefixes(path_of(file), prefixes)
    return index


def write_files(root: Path, count: int) -> None:
    """Write unit files with the columns that the index reads."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mmsoc_ray.results.schema import PREDICTION_SCHEMA

    (root / FOLDER).mkdir(parents=True)
    for file in range(count // KEYS_A_FILE):
        numbers = range(file * KEYS_A_FILE, (file + 1) * KEYS_A_FILE)
        rows = [{"row_key": key_of(n), "output": "x", "engine_version": "1"} for n in numbers]
        schema = pa.schema([field.with_nullable(True) for field in PREDICTION_SCHEMA])
        pq.write_table(pa.Table.from_pylist(rows, schema), root / path_of(file), compression="zstd")


def from_files(root: Path, count: int) -> KnownAnswers:
    """Index the files below a folder, as a run does."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid.reuse import AnswerSource, EarlierRun, index_answers

    run = EarlierRun("nightly-2026-11-22", FOLDER, count // KEYS_A_FILE, count, frozenset())
    return index_answers(open_storage(root), AnswerSource((run,), "1"), print)


def resident(field: str) -> int:
    """Return a count of this process' resident memory in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def measure(count: int, folder: Path | None) -> None:
    """Build an index, look keys up, and print a line."""
    if folder:
        write_files(folder, count)
    before, started = resident("VmRSS"), time.monotonic()
    index = from_files(folder, count) if folder else from_memory(count)
    filled = time.monotonic()
    index.sort()
    built = time.monotonic()
    found = 0
    for lookup in range(LOOKUPS):
        first = lookup * KEYS_A_LOOKUP // 2
        half = range(KEYS_A_LOOKUP // 2)
        files = index.files_of([key_of(first + n) for n in half] + [key_of(10**12 + first + n) for n in half])
        found += sum(map(len, files.values()))
    looked_up = time.monotonic()
    peak, wanted = resident("VmHWM") - before, LOOKUPS * KEYS_A_LOOKUP // 2
    if len(index) != count or found < wanted:
        raise SystemExit(f"the index has {len(index)} of {count} keys and found {found} of {wanted}")
    print(
        f"{count:>11,} keys  {count // KEYS_A_FILE:>9,} files  "
        f"peak {peak / 2**20:7.1f} MiB ({peak / count:4.1f} B/key)  "
        f"filled {filled - started:6.1f} s  sorted {built - filled:5.1f} s  "
        f"a unit's {KEYS_A_LOOKUP} keys looked up in {(looked_up - built) / LOOKUPS * 1e3:.2f} ms  "
        f"false candidates {found - wanted} of {wanted}",
        flush=True,
    )
    if count >= 100_000_000 and peak > BOUND:
        raise SystemExit("more than the bound of 1 GiB")


def main() -> None:
    """Measure each count in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS)
    parser.add_argument("--files", action="store_true", help="read the keys from Parquet files")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for count in options.counts:
        if not options.measure:
            arguments = [str(count), "--measure", *(["--files"] if options.files else [])]
            subprocess.run([sys.executable, __file__, *arguments], check=True)
        elif options.files:
            with tempfile.TemporaryDirectory() as folder:
                measure(count, Path(folder))
        else:
            measure(count, None)


if __name__ == "__main__":
    main()
