"""A model and two LoRA adapters in one vLLM engine, over three engines one after another.

    python benchmarks/adapters_together.py                  # the demo's model on a CPU: a report, no bound
    python benchmarks/adapters_together.py --posts 500 --model llava-7b-random                # on a GPU

Zero-shot, fine-tuned and fine-tuned with explanations ask the same questions of the same memes of one base model. Here
the adapters have random weights: how long an answer takes does not depend on what they have learnt. Printed are seconds
with and without start-up both ways, their ratios, and how many answers are the same. On CPUs vLLM's path for adapters
is slow (it gathers an adapter's weights for every token); only on a GPU do the seconds say something.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import meme_work
from machine import machine_line

ADAPTERS = ("finetuned", "finetuned_explained")
RANK = 16


def save_adapters(checkpoint: Path, folder: Path) -> dict[str, Path]:
    """Save the adapters, with random weights, over all projections of the language model's attention."""
    import peft
    import torch
    import transformers

    library: Any = transformers
    folders = {name: folder / name for name in ADAPTERS}
    for seed, saved in enumerate(folders.values()):
        if (saved / "adapter_config.json").is_file():
            continue
        model = library.AutoModelForImageTextToText.from_pretrained(checkpoint, dtype="auto")
        torch.manual_seed(seed)
        targets = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj)"
        config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets)
        adapted: Any = peft.get_peft_model(model, config)
        for parameter_name, parameter in adapted.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.01)
        adapted.save_pretrained(saved)
    return folders


def measure(folder: Path, chosen: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Answer all memes for the base (an empty name) and adapters in one new engine; runs in a process of its own."""
    from mmsoc_ray.engines.vllm import VllmEngine
    from mmsoc_ray.models import resolve_checkpoint

    run = meme_work.open_work(folder, chosen, "adapters", engines=1)
    answerer = run.models[0].answerer
    entry = dataclasses.replace(answerer.entry, dtype=answerer.dtype or "auto")
    checkpoint = resolve_checkpoint(entry)
    folders = save_adapters(checkpoint, folder)
    posts = [
        dataclasses.replace(
            post,
            requests=tuple(dataclasses.replace(asked, adapter=name) for name in names for asked in post.requests),
        )
        for post in meme_work.prepared(run)
    ]
    started = time.monotonic()
    chosen_adapters = {name: folders[name] for name in names if name}
    engine = VllmEngine(checkpoint, entry, threads=meme_work.threads_of(chosen), adapters=chosen_adapters)
    start_s = time.monotonic() - started
    started = time.monotonic()
    answers = list(engine.answer(posts))
    seconds = time.monotonic() - started
    engine.close()
    meme_work.refuse_failed(answer.error for answer in answers)
    asked = {(a.post_index, posts[a.post_index].requests[a.request_index]): a.output for a in answers}
    return {
        "seconds": seconds,
        "start_s": start_s,
        "answers": {(post, request.adapter, request.task): output for (post, request), output in asked.items()},
    }


def main() -> int:
    """Measure both ways and print what they took."""
    parser = meme_work.options(__doc__, posts=20)
    chosen = parser.parse_args()
    chosen.engine = "vllm"
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        print(machine_line(meme_work.PACKAGES), flush=True)
        print(f"{chosen.posts} memes x {len(meme_work.TASKS)} tasks x 3, {chosen.model}, rank {RANK}", flush=True)
        together = meme_work.in_new_process(measure, folder, chosen, ("", *ADAPTERS))
        apart = [meme_work.in_new_process(measure, folder, chosen, (name,)) for name in ("", *ADAPTERS)]
    seconds, start = sum(one["seconds"] for one in apart), sum(one["start_s"] for one in apart)
    alone = {place: output for one in apart for place, output in one["answers"].items()}
    same = sum(together["answers"][place] == output for place, output in alone.items())
    print(f"together {together['seconds']:.1f} s and {together['start_s']:.1f} s of start-up")
    for name, one in zip(("base", *ADAPTERS), apart, strict=True):
        print(f"  {name} alone {one['seconds']:.1f} s and {one['start_s']:.1f} s")
    print(f"apart {seconds:.1f} s and {start:.1f} s of start-up; {same} of {len(alone)} answers the same")
    whole = (seconds + start) / (together["seconds"] + together["start_s"])
    print(f"ratio {seconds / together['seconds']:.2f} without start-up, {whole:.2f} with it (no bound)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
