"""The vLLM engine of a run against ``ray.data.llm``, Ray's own batch inference with vLLM, on the same requests.

    python benchmarks/ray_data_llm.py                       # the demo's model on a CPU
    python benchmarks/ray_data_llm.py --posts 500 --model llava-7b-random                     # on a GPU

Both get the same tokens, pictures (with one identity each), limits and engine options, one engine, and write Parquet.
Rates count from the moment the engine was first asked to the last durable answer; start-up is apart. Printed are
the rates of interleaved pairs, their ratio (a run over the library), and how many answers are the same.

What the library leaves to its user, and a run has: units that no block size tears, durable attempts and quarantine,
probabilities of labels of several tokens, refusal of what does not fit instead of shorter answers.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ceiling
import meme_work
from machine import machine_line


def requests_of(folder: Path, chosen: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any], list[int]]:
    """Return the requests as rows, the engine's options, and the tokens that end an answer."""
    import dataclasses

    from PIL import Image

    from mmsoc_ray.engines.accelerator import choose_device
    from mmsoc_ray.engines.frame import load_frame
    from mmsoc_ray.engines.vllm_start import engine_options, set_environment
    from mmsoc_ray.models import resolve_checkpoint

    run = meme_work.open_work(folder, chosen, "library", engines=1)
    answerer = run.models[0].answerer
    entry = dataclasses.replace(answerer.entry, dtype=answerer.dtype or "auto")
    checkpoint, on_gpu = resolve_checkpoint(entry), choose_device(None).type == "cuda"
    frame = load_frame(checkpoint, entry)
    rows = []
    for post in meme_work.prepared(run):
        file = io.BytesIO()
        Image.fromarray(post.image).save(file, "PNG", compress_level=1)  # type: ignore[arg-type]
        rows += [
            {
                "post_key": post.post_key,
                "task": request.task,
                "ids": frame.read(request, has_picture=True)[1],
                "picture": file.getvalue(),
                "sha256": post.image_sha256,
                "max_tokens": request.max_new_tokens,
            }
            for request in post.requests
        ]
    set_environment(entry, meme_work.threads_of(chosen), on_gpu=on_gpu)
    options = engine_options(checkpoint, entry, frame, dtype=answerer.dtype, on_gpu=on_gpu, adapters={})
    options.pop("disable_log_stats")
    return rows, options, sorted(frame.end_token_ids)


def run_library(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Answer with ``ray.data.llm`` in this process; return its rate and answers."""
    import pyarrow.parquet as pq
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    rows, options, ends = requests_of(folder, chosen)
    gpu = meme_work.has_gpu()
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    config = vLLMEngineProcessorConfig(
        model_source=options.pop("model"),
        engine_kwargs=options,
        concurrency=1,
        batch_size=32,
        max_concurrent_batches=8,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        placement_group_config={"bundles": [{"GPU": 1, "CPU": 1}] if gpu else [{"CPU": 1}]},
    )

    def before(row: dict[str, Any]) -> dict[str, Any]:
        from PIL import Image

        return {
            "tokenized_prompt": list(row["ids"]),
            "multimodal_data": {"image": [Image.open(io.BytesIO(row["picture"])).convert("RGB")]},
            "multimodal_uuids": {"image": [row["sha256"]]},
            "sampling_params": {
                "temperature": 0.0,
                "max_tokens": int(row["max_tokens"]),
                "stop_token_ids": ends,
                "detokenize": False,
            },
            "picture": None,
        }

    def after(row: dict[str, Any]) -> dict[str, Any]:
        return {
            "post_key": row["post_key"],
            "task": row["task"],
            "tokens": list(row["generated_tokens"]),
            "begun": time.time() - float(row["time_taken_llm"]),
        }

    processor = build_processor(config, preprocess=before, postprocess=after)
    started, out = time.time(), folder / f"library-{os.getpid()}"
    processor(ray.data.from_items(rows, override_num_blocks=max(1, len(rows) // 100))).write_parquet(str(out))
    ended = time.time()
    answers = pq.read_table(out).to_pylist()
    begun = min(row["begun"] for row in answers)
    return {
        "rate": len(answers) / (ended - begun),
        "seconds": ended - begun,
        "start_s": begun - started,
        "answers": [[row["post_key"], row["task"], row["tokens"]] for row in answers],
    }


def measure_library(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return what ``run_library`` measured, in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--folder", str(folder), "--only-library"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Measure pairs and print ratios and agreement."""
    parser = meme_work.options(__doc__, posts=100)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--only-library", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    chosen.engine, chosen.engines = "vllm", 1
    if chosen.only_library:
        print(json.dumps(run_library(chosen.folder, chosen)))
        return 0
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        print(machine_line(meme_work.PACKAGES), flush=True)
        print(f"{chosen.posts} memes x {len(meme_work.TASKS)} tasks, {chosen.model}, one engine", flush=True)
        decode = _decoder(folder, chosen)
        ratios = []
        for number in range(chosen.pairs):
            ours = ceiling.measure_run(folder, chosen, number)
            library = measure_library(folder, chosen)
            ratios.append(ours.rate / library["rate"])
            same = sum(ours.outputs[key, task] == decode(tokens) for key, task, tokens in library["answers"])
            print(
                f"pair {number}: a run over ray.data.llm {ratios[-1]:.3f}, {same} of {ours.requests} answers the same"
            )
            print(f"  run          {ours}")
            print(f"  ray.data.llm {library['rate']:.3f} requests/s, {library['seconds']:.1f} s; ", end="")
            print(f"start-up {library['start_s']:.1f} s", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})")
    return 0


def _decoder(folder: Path, chosen: argparse.Namespace) -> Any:
    from mmsoc_ray.engines.frame import load_frame
    from mmsoc_ray.models import resolve_checkpoint

    entry = meme_work.open_work(folder, chosen, "library", engines=1).models[0].answerer.entry
    frame = load_frame(resolve_checkpoint(entry), entry)
    return lambda tokens: frame.decode(tokens)[0]


if __name__ == "__main__":
    sys.exit(main())
