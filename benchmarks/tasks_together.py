"""Five tasks on each picture asked together, over five runs of one task each.

    python benchmarks/tasks_together.py                                     # the demo's model, transformers
    python benchmarks/tasks_together.py --engine vllm --posts 200 --cache-gb 1     # a cache smaller than the posts
    python benchmarks/tasks_together.py --engine vllm --posts 200 --cache-gb 3     # one that holds them all
    python benchmarks/tasks_together.py --model llava-7b-random --posts 500                        # on a GPU

Every run has an engine of its own, from a new process, which has answered two pictures of noise before the clock
starts: its caches are on and know nothing of the memes. Start-up (process, imports, weights) is left out. Prints
samples (memes with all their tasks) per second both ways, their ratio for each round, and how many answers agree: those
that do not are listed with the margin between the two candidates at the first diverging token, as a float32 reference
finds it. Bound: 2.5 for transformers.

On a CPU, transformers' seconds are those of the engine's process on a CPU, so that other work on the machine does not
decide; the seconds of the wall clock stand beside them.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import meme_work
from machine import machine_line

BOUND = 2.5


@dataclass(frozen=True)
class Measured:
    """What one engine did.

    Attributes:
        seconds: From the first request to the last answer; see ``meme_work.cpu_clock``.
        wall_s: The same by the wall clock.
        start_s: Process, imports and weights.
        tokens: Tokens of prompts, of these taken from a cache, and generated.
        answers: All of them.
    """

    seconds: float
    wall_s: float
    start_s: float
    tokens: tuple[int, int, int]
    answers: list[Any]

    def __str__(self) -> str:
        """One line with absolute figures."""
        prompt, cached, new = self.tokens
        return (
            f"{self.seconds:.1f} s ({len(self.answers) / self.seconds:.2f} requests/s, {new / self.seconds:.1f} new "
            f"and {prompt / self.seconds:.0f} prompt tokens/s, {cached / max(prompt, 1):.0%} of these cached; "
            f"wall clock {self.wall_s:.1f} s, start-up {self.start_s:.1f} s)"
        )


def measure(folder: Path, chosen: argparse.Namespace, tasks: tuple[str, ...]) -> Measured:
    """Answer all posts' requests of some tasks with a new engine; runs in a process of its own."""
    posts = _asked(folder, chosen, tasks)
    loading = time.monotonic()
    engine = meme_work.open_alone(_work(folder, chosen), meme_work.threads_of(chosen))
    start_s = time.monotonic() - loading
    list(engine.answer([_noise(post, seed) for seed, post in enumerate(posts[:2])]))
    started, on_cpu = time.monotonic(), time.process_time()
    answers = list(engine.answer(posts))
    wall_s, cpu_s = time.monotonic() - started, time.process_time() - on_cpu
    tokens = tuple(sum(getattr(a, f"{kind}_tokens") for a in answers) for kind in ("prompt", "cached", "output"))
    meme_work.close(engine)
    meme_work.refuse_failed(answer.error for answer in answers)
    seconds = cpu_s if meme_work.cpu_clock(chosen) else wall_s
    return Measured(seconds, wall_s, start_s, tokens, answers)  # type: ignore[arg-type]


def _work(folder: Path, chosen: argparse.Namespace) -> Any:
    return meme_work.open_work(folder, chosen, "together", engines=1)


def _asked(folder: Path, chosen: argparse.Namespace, tasks: tuple[str, ...]) -> list[Any]:
    posts = meme_work.prepared(_work(folder, chosen))
    return [
        dataclasses.replace(post, requests=tuple(request for request in post.requests if request.task in tasks))
        for post in posts
    ]


def _noise(post: Any, seed: int) -> Any:
    import numpy as np

    pixels = np.random.default_rng(seed).integers(0, 256, post.image.shape, np.uint8)
    return dataclasses.replace(post, post_key=f"noise-{seed}", image=pixels, image_sha256=f"{seed:064x}")


def agreement(folder: Path, chosen: argparse.Namespace, together: Measured, apart: list[Measured]) -> bool:
    """Print how many answers are the same both ways; return whether rounding explains the others."""
    from mmsoc_ray.engines.agreement import beyond_rounding, compare
    from mmsoc_ray.engines.reference import TransformersReference
    from mmsoc_ray.models import resolve_checkpoint

    tasks = tuple(meme_work.TASKS)
    posts = _asked(folder, chosen, tasks)
    order = {task: place for place, task in enumerate(request.task for request in posts[0].requests)}
    alone = [
        dataclasses.replace(answer, request_index=order[task])
        for task, measured in zip(tasks, apart, strict=True)
        for answer in measured.answers
    ]
    entry = _work(folder, chosen).models[0].answerer.entry
    reference = TransformersReference(resolve_checkpoint(entry), entry, threads=os.cpu_count())
    found = compare(posts, together.answers, alone, reference)
    unexplained = beyond_rounding(found)
    print(f"answers: {len(alone) - len(found)} of {len(alone)} the same token for token, {len(found)} differ, ", end="")
    print(f"{len(unexplained)} of these by a margin of more than 1e-3")
    for disagreement in found:
        print(f"  {disagreement}")
    return not unexplained


def main() -> int:
    """Measure rounds, the order of the two ways changing, and print ratios and agreement."""
    parser = meme_work.options(__doc__, posts=96)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    tasks = tuple(meme_work.TASKS)
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        print(machine_line(meme_work.PACKAGES), flush=True)
        print(f"{chosen.posts} memes x {len(tasks)} tasks, {chosen.model}, {chosen.engine}", flush=True)
        ratios = []
        for number in range(chosen.rounds):
            ways = [tasks, *((task,) for task in tasks)]
            found = {
                way: meme_work.in_new_process(measure, folder, chosen, way)
                for way in (ways if number % 2 == 0 else ways[::-1])
            }
            together, apart = found[tasks], [found[(task,)] for task in tasks]
            apart_s = sum(measured.seconds for measured in apart)
            ratios.append(apart_s / together.seconds)
            print(f"round {number}: together {chosen.posts / together.seconds:.3f} samples/s, ", end="")
            print(f"apart {chosen.posts / apart_s:.3f} samples/s, ratio {ratios[-1]:.2f}", end="")
            print(f" (wall clock {sum(measured.wall_s for measured in apart) / together.wall_s:.2f})")
            print(f"  together {together}")
            for task, measured in zip(tasks, apart, strict=True):
                print(f"  {task} {measured}", flush=True)
        explained = agreement(folder, chosen, together, apart)
    ratio = statistics.median(ratios)
    print(f"median ratio {ratio:.2f} (from {min(ratios):.2f} to {max(ratios):.2f}; bound {BOUND} for transformers)")
    return 0 if (ratio >= BOUND or chosen.engine != "transformers") and explained else 1


if __name__ == "__main__":
    sys.exit(main())
