"""Samples a second of a training, over plain ``transformers.Trainer`` on the same model, data and recipe.

    python benchmarks/training.py                  # SmolLM2-135M and a tiny model, LoRA, text only: some minutes
    python benchmarks/training.py --models tiny --pairs 5

Ours is the loop as a worker runs it, with everything that makes its samples: shards are read, prompts rendered, tokens
made and padded while the clock runs. Theirs gets the same samples ready made from memory, in the same order and in as
large micro batches, with the same peft model, optimiser, schedule, clipping and threads; it keeps no checkpoint and
logs nothing. Runs are interleaved, and the order of a pair changes from pair to pair. Bound: 0.95.
"""

from __future__ import annotations

import argparse
import dataclasses
import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from machine import machine_line

REPOSITORY = Path(__file__).resolve().parent.parent
MODELS = ("smollm2-135m", "tiny")
DATASET, TASKS = "demo_memes", ("humor", "sarcasm", "offensiveness")
STEPS = {"smollm2-135m": 6, "tiny": 150}
WARM_STEPS = 1
BATCH, MICRO_BATCH = 16, 4
BOUND = 0.95


def make_plan(model: str, checkpoint: Path, steps: int) -> Any:
    """Return what is learnt: a few tasks of the demo's memes as text."""
    from mmsoc_ray.config import Recipe
    from mmsoc_ray.data import read_manifest
    from mmsoc_ray.data.demo_shards import cached_demo
    from mmsoc_ray.models.entry import ModelEntry
    from mmsoc_ray.tasks import get_task
    from mmsoc_ray.training.plan import plan_feed

    data = cached_demo(print)
    entry = ModelEntry(
        model, "benchmark", 0.0, "transformers", checkpoint=str(checkpoint), settings=("text_only",), dtype="float32"
    )
    recipe = Recipe(
        name="benchmark",
        rank=16,
        alpha=32.0,
        learning_rate=1e-4,
        steps=steps,
        batch=BATCH,
        micro_batch=MICRO_BATCH,
        precision="float32",
        context_tokens=256 if model == "tiny" else 1024,
    )
    tasks = {name: (get_task(name), "official") for name in TASKS}
    return plan_feed(recipe, entry, data, {DATASET: read_manifest(data, DATASET, "train")}, {DATASET: tasks})


def trainable(plan: Any, checkpoint: Path) -> Any:
    """Load the model with its adapter."""
    import torch

    from mmsoc_ray.engines.checkpoint import load_checkpoint
    from mmsoc_ray.training.methods import TrainableModel

    loaded = load_checkpoint(checkpoint, plan.entry, torch.float32, torch.device("cpu"))
    return TrainableModel(loaded.model, plan.recipe, where="benchmark")


def ours(plan: Any, checkpoint: Path) -> tuple[int, float]:
    """Return samples and seconds of our steps behind the first."""
    import torch

    from mmsoc_ray.training.feed import step_batches
    from mmsoc_ray.training.loop import Training

    training = Training(
        trainable(plan, checkpoint),
        plan.recipe,
        total=plan.total_steps,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    samples, started = 0, time.perf_counter()
    for batch in step_batches(plan, streamed=False):
        report = training.take_step(batch)
        if training.step <= WARM_STEPS:
            started = time.perf_counter()
        else:
            samples += report.samples
    return samples, time.perf_counter() - started


def made_samples(plan: Any, checkpoint: Path) -> list[Any]:
    """Make all samples of a training, in the order in which ours learns them."""
    from mmsoc_ray.data import open_storage, read_unit
    from mmsoc_ray.training.feed import make_sample
    from mmsoc_ray.training.samples import SampleMaker

    maker, data = SampleMaker(checkpoint, plan.entry, plan.recipe), open_storage(plan.data_uri)
    made = [
        [make_sample(plan, maker, post, task) for post in read_unit(data, unit) for task in plan.tasks_of(post)]
        for unit in plan.units
    ]
    places = (place for step in range(plan.total_steps) for place in plan.order.places(step))
    return [made[place.unit][place.sample] for place in places]


def theirs(plan: Any, checkpoint: Path, samples: Sequence[Any]) -> tuple[int, float]:
    """Return samples and seconds of the library's steps behind the first."""
    import transformers
    from torch.utils.data import SequentialSampler

    from mmsoc_ray.training.samples import SampleMaker

    maker = SampleMaker(checkpoint, plan.entry, plan.recipe)
    clock = _Clock()

    class InOrder(transformers.Trainer):  # type: ignore[misc, name-defined]
        """Takes the samples in the order in which they are given."""

        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(samples)

    recipe = plan.recipe
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=plan.total_steps,
            per_device_train_batch_size=recipe.micro_batch,
            gradient_accumulation_steps=recipe.batch // recipe.micro_batch,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type=recipe.schedule,
            max_grad_norm=recipe.clip_norm,
            weight_decay=recipe.optimizer.weight_decay,
            remove_unused_columns=False,
            save_strategy="no",
            report_to=[],
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            seed=recipe.seed,
        )
        trainer = InOrder(
            model=trainable(plan, checkpoint).model,
            args=arguments,
            train_dataset=samples,
            data_collator=maker.collate,
            callbacks=[clock.callback()],
        )
        trainer.train()
    return (plan.total_steps - WARM_STEPS) * recipe.batch, time.perf_counter() - clock.started


@dataclasses.dataclass
class _Clock:
    """Notes when the first step has ended."""

    started: float = 0.0

    def callback(self) -> Any:
        import transformers

        clock = self

        class AfterFirst(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == WARM_STEPS:
                    clock.started = time.perf_counter()

        return AfterFirst()


def checkpoints(folder: Path, models: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield each model's checkpoint."""
    from mmsoc_ray.models.checkpoints import demo_checkpoint

    for model in models:
        if model != "tiny":
            yield model, demo_checkpoint(model)
            continue
        saved = folder / "tiny"
        saved.mkdir()
        runpy.run_path(str(REPOSITORY / "tests" / "engines" / "conftest.py"))["save_text_checkpoint"](saved)
        yield model, saved


def measure(model: str, checkpoint: Path, pairs: int, steps: int) -> float:
    """Print pairs of runs of a model and return the median of their ratios."""
    plan = make_plan(model, checkpoint, steps)
    samples = made_samples(plan, checkpoint)
    ratios = []
    for pair in range(pairs):
        runs = {"ours": lambda: ours(plan, checkpoint), "theirs": lambda: theirs(plan, checkpoint, samples)}
        order = list(runs) if pair % 2 == 0 else list(reversed(runs))
        rates = {name: count / seconds for name in order for count, seconds in [runs[name]()]}
        ratios.append(rates["ours"] / rates["theirs"])
        print(
            f"{model}: ours {rates['ours']:.2f} samples/s, transformers.Trainer {rates['theirs']:.2f}, "
            f"ratio {ratios[-1]:.3f}",
            flush=True,
        )
    return statistics.median(ratios)


def main() -> int:
    """Measure pairs and print their ratios."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="of " + ", ".join(MODELS))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, help="steps of each run; by default as many as take about half a minute")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine_line(("torch", "transformers", "peft")))
    worst = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for model, checkpoint in checkpoints(Path(folder), options.models.split(",")):
            median = measure(model, checkpoint, options.pairs, options.steps or STEPS[model])
            print(f"{model}: median ratio {median:.3f} (bound {BOUND}), {options.threads} threads")
            worst = min(worst, median)
    return 0 if worst >= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
