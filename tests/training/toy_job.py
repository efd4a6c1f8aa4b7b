"""A training on the toy data, for tests; run as a program, it trains and prints its notes.

python tests/training/toy_job.py DATA CHECKPOINT ROOT '{"epochs": 20}' [SECONDS]

It joins the cluster of RAY_ADDRESS, or starts its own Ray. Another process that trains the same is taken for dead when
it has been silent for so many SECONDS; with 0, always.
"""

import json
import os
import sys
from pathlib import Path

from mmsoc_ray.config import Recipe
from mmsoc_ray.data import open_storage, read_manifest
from mmsoc_ray.models.digests import model_digest
from mmsoc_ray.models.entry import ModelEntry
from mmsoc_ray.tasks import get_task
from mmsoc_ray.training import TrainedTask, TrainingJob, drivers, train_adapter

ASKED = {"toy_memes": ("humor", "sarcasm"), "toy_news": ("misinformation",)}


def toy_job(data_root, checkpoint, **fields):
    """Return a training of a tiny checkpoint: 18 samples an epoch, three steps."""
    data = open_storage(data_root)
    entry = ModelEntry(
        name="tiny", family="tiny", parameters_b=0, engine="transformers", checkpoint=str(checkpoint),
        sees_pictures=True, dtype="float32",
    )  # fmt: skip
    said = {
        "name": "toy", "rank": 4, "alpha": 8.0, "learning_rate": 1e-2, "epochs": 2.0, "batch": 6, "micro_batch": 3,
        "context_tokens": 256, "checkpoint_every": 2, "threads": 1, "precision": "float32",
    }  # fmt: skip
    return TrainingJob(
        recipe=Recipe(**{**said, **fields}),
        entry=entry,
        base_digest=model_digest(Path(checkpoint)),
        data_uri=data.uri,
        splits={name: read_manifest(data, name, "train") for name in ASKED},
        tasks={name: tuple(TrainedTask(get_task(task), max_new_tokens=3) for task in ASKED[name]) for name in ASKED},
    )


if __name__ == "__main__":
    import ray

    where, folder, output, fields, *silent = sys.argv[1:]
    drivers.BEAT_S, drivers.SILENT_S = 0.5, float(silent[0]) if silent else 10.0
    own = {} if "RAY_ADDRESS" in os.environ else {"address": "local", "num_cpus": 3, "include_dashboard": False}
    ray.init(log_to_driver=False, **own)
    toy = toy_job(where, folder, **{"dropout": 0.1, **json.loads(fields)})
    train_adapter(toy, open_storage(output), note=lambda line: print(line, flush=True))
