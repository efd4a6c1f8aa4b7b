"""Peak memory of `mmsoc data prepare` over the number of posts: it must grow by at most 16 bytes a post.

    python benchmarks/prepare_memory.py            # 50,000 and 1,000,000 posts
    python benchmarks/prepare_memory.py 5000 20000

Each count is converted in a process of its own from a CSV of small texts (with --pictures, from Parquet with a picture
of 100 bytes each). Without --ray one process does it all, and the peak is what the system counts as its resident memory
(VmHWM). With --ray Ray tasks convert, as in the command, and the peak is the driver's own memory (RssAnon, sampled):
pages of Ray's object store, of bounded size, are left out.
"""

from __future__ import annotations

import argparse
import csv
import io
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

COUNTS = (50_000, 1_000_000)
MAPPING = """\
dataset: small_posts
files: {test: posts.%s}
sample_id: id
text: text
%stargets: {humor: label}
"""


def write_csv(file: Path, count: int) -> None:
    """Write small posts as CSV."""
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "text", "label"])
        writer.writerows((f"post-{n:09d}", f"text {n}", "humorous") for n in range(count))


def write_parquet(file: Path, count: int) -> None:
    """Write small posts, each with a tiny picture, as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    step = 10_000
    names = ["id", "text", "label", "image"]
    schema = pa.schema([(name, pa.string()) for name in names[:3]] + [("image", pa.binary())])
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, count, step):
            numbers = range(start, min(start + step, count))
            columns = [[f"post-{n:09d}" for n in numbers], [f"text {n}" for n in numbers]]
            columns += [["humorous"] * len(numbers)]
            writer.write_table(pa.table([*columns, [picture.getvalue()] * len(numbers)], schema=schema))


def status(field: str) -> int:
    """Return a field of this process' status in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def sampled(ended: threading.Event, peak: list[int]) -> None:
    """Keep the peak of this process' own memory."""
    while not ended.wait(0.05):
        peak[0] = max(peak[0], status("RssAnon"))


def convert(folder: Path, with_ray: bool) -> None:
    """Convert the source in a folder and print the peak of this process' memory in bytes."""
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.data.sources import load_mapping, prepare_source

    mapping, source, output = load_mapping(folder / "mapping.yaml"), open_storage(folder), open_storage(folder / "out")
    if not with_ray:
        prepare_source(mapping, source, output)
        print(status("VmHWM"))
        return
    from mmsoc_ray.grid.ordered import map_in_order

    ended, peak = threading.Event(), [0]
    threading.Thread(target=sampled, args=(ended, peak), daemon=True).start()
    prepare_source(mapping, source, output, map_slices=map_in_order)
    ended.set()
    print(peak[0])


def measure(count: int, pictures: bool, with_ray: bool) -> tuple[int, float]:
    """Return the peak in bytes and the seconds of one conversion."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        form = "parquet" if pictures else "csv"
        (folder / "mapping.yaml").write_text(MAPPING % (form, "image: image\n" if pictures else ""))
        (write_parquet if pictures else write_csv)(folder / f"posts.{form}", count)
        started = time.monotonic()
        command = [sys.executable, __file__, "--convert", name, *(["--ray"] if with_ray else [])]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return int(done.stdout.split()[-1]), time.monotonic() - started


def main() -> None:
    """Measure and print a line for each count, then the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS)
    parser.add_argument("--pictures", action="store_true", help="Parquet with a tiny picture in every post")
    parser.add_argument("--ray", action="store_true", help="convert in Ray tasks; the driver's memory is measured")
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.convert:
        convert(options.convert, options.ray)
        return
    peaks = []
    for count in options.counts:
        peak, seconds = measure(count, options.pictures, options.ray)
        peaks.append((count, peak))
        print(f"{count:>10,} posts  peak {peak / 2**20:8.1f} MiB  {seconds:7.1f} s", flush=True)
    (fewer, low), (more, high) = peaks[0], peaks[-1]
    if more > fewer:
        print(f"growth {(high - low) / (more - fewer):.1f} bytes a post (bound: 16)")


if __name__ == "__main__":
    main()
