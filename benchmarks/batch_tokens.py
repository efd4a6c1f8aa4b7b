"""How large a batch pays: requests per second and memory of the transformers engine over the bound on a batch's tokens.

    python benchmarks/batch_tokens.py                                      # the demo's model, about five minutes
    python benchmarks/batch_tokens.py --model FOLDER --bounds 8192,16384,32768            # your model, on your GPU

A batch is filled by measured work: the tokens of its requests' prompts, pictures included, and the most that they may
answer. How many tokens are best depends on the machine. This asks one loaded engine the same memes with each bound, up
and down again, so that a machine that gets slower meanwhile decides nothing, and prints the median rate of each, its
ratio to the best, and the peak of the memory that its batches take beyond the loaded model (each bound in a process of
its own). Set the smallest bound that is as good as the best: ``models.*.batch_tokens`` of the grid.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import meme_work
from machine import machine_line

BOUNDS = "1024,2048,4096,8192,16384"


def rates(folder: Path, chosen: argparse.Namespace, bounds: list[int]) -> dict[int, list[float]]:
    """Return requests per second with each bound, round by round; runs in a process of its own."""
    run = meme_work.open_work(folder, chosen, "bounds", engines=1)
    posts = meme_work.prepared(run)
    engine = meme_work.open_alone(run, meme_work.threads_of(chosen))
    list(engine.answer(posts[:2]))
    found: dict[int, list[float]] = {bound: [] for bound in bounds}
    for number in range(chosen.rounds):
        for bound in bounds if number % 2 == 0 else bounds[::-1]:
            started = time.monotonic()
            requests = _ask(engine, posts, bound)
            found[bound].append(requests / (time.monotonic() - started))
    return found


def peak(folder: Path, chosen: argparse.Namespace, bound: int) -> int:
    """Return the bytes that the engine's process takes at most beyond the loaded model."""
    from mmsoc_ray.grid.usage import peak_memory

    run = meme_work.open_work(folder, chosen, "bounds", engines=1)
    posts = meme_work.prepared(run)[: chosen.posts_per_unit]
    engine = meme_work.open_alone(run, meme_work.threads_of(chosen))
    if meme_work.has_gpu():
        import torch

        loaded = torch.cuda.memory_allocated()
        _ask(engine, posts, bound)
        return int(torch.cuda.max_memory_allocated()) - loaded
    loaded = peak_memory()
    _ask(engine, posts, bound)
    return peak_memory() - loaded


def _ask(engine: Any, posts: list[Any], bound: int) -> int:
    engine._entry = dataclasses.replace(engine._entry, batch_tokens=bound)
    answers = list(engine.answer(posts))
    meme_work.refuse_failed(answer.error for answer in answers)
    return len(answers)


def main() -> int:
    """Measure each bound and print a line of it."""
    parser = meme_work.options(__doc__, posts=20)
    parser.add_argument("--bounds", default=BOUNDS, help="joined by commas")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    chosen.engine = "transformers"
    bounds = sorted(map(int, chosen.bounds.split(",")))
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        print(machine_line(meme_work.PACKAGES), flush=True)
        print(f"{chosen.posts} memes x {len(meme_work.TASKS)} tasks, {chosen.model}, units of {chosen.posts_per_unit}")
        found = meme_work.in_new_process(rates, folder, chosen, bounds)
        median = {bound: statistics.median(each) for bound, each in found.items()}
        best = max(median.values())
        for bound, rate in median.items():
            taken = meme_work.in_new_process(peak, folder, chosen, bound) / 2**20
            print(
                f"{bound:>7,} tokens: {rate:.2f} requests/s (from {min(found[bound]):.2f} to {max(found[bound]):.2f}), "
                f"{rate / best:.3f} of the best, {taken:,.0f} MiB of memory for batches",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
