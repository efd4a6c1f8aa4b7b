"""A million predictions to cells, with 1,000 resamples, on one core: at most 60 s, and exact against scikit-learn.

    python benchmarks/metrics.py                      # 1,000,000 predictions, two minutes
    python benchmarks/metrics.py --predictions 50000

Units' files are written as a run writes them: hate speech and humor with the probability of each label, sentiment with
its three labels, tagging with nearly as many different answers as posts; some answers cannot be read, some requests
failed. Then, with the clock running, the program's own aggregation (``aggregate_cell``, which a run calls for each
cell) reads the files, parses, computes every metric with its interval, and writes cells and results table. The process
is bound to one core; counted are its CPU seconds, which other work on the machine does not lengthen.

Afterwards scikit-learn computes every metric that it has too from the same parsed answers, post by post.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from machine import machine_line  # noqa: E402

from mmsoc_ray.data import Storage, open_storage  # noqa: E402
from mmsoc_ray.grid.aggregate import CellJob, CellResult, aggregate_cell  # noqa: E402
from mmsoc_ray.grid.plan import Cell  # noqa: E402
from mmsoc_ray.grid.sink import write_unit  # noqa: E402
from mmsoc_ray.results import write_results  # noqa: E402
from mmsoc_ray.results.schema import PREDICTION_SCHEMA  # noqa: E402
from mmsoc_ray.tasks import Task, get_task, normalise_tag  # noqa: E402

PREDICTIONS = 1_000_000
BOUND_S = 60.0
SHARES = {"hate_speech": 0.2, "humor": 0.2, "sentiment": 0.3, "tagging": 0.3}
SCORED = ("hate_speech", "humor")
POSTS_PER_UNIT = 2_000
TOLERANCE = 1e-12
"""Sums of a million terms in another order differ in their last digits."""

FRAMES = ("{}", "{}.", "'{}'", "{}", "The answer is {}.", "I think it is {} because of the {}.", "{}, as the {} shows.")
WORDS = ("cat", "dog", "man", "dragon", "office", "bus", "exam", "garden", "screen", "letter", "coffee", "song")


def answers(task: Task, rng: random.Random) -> Iterator[tuple[list[str], str | None]]:
    """Yield references and answers: nine of ten can be read, one of two hundred requests has failed."""
    tags = [tag.replace("_", " ").lower() for tag in task.vocabulary]
    while True:
        if task.kind == "tagging":
            reference = rng.sample(task.vocabulary, rng.randint(1, 4))
            guesses = (*rng.sample(tags, rng.randint(0, 3)), *rng.sample(WORDS, rng.randint(1, 2)))
            said = ", ".join((*guesses, reference[0]))
        else:
            reference = [rng.choice(task.labels)]
            label = reference[0] if rng.random() < 0.6 else rng.choice(task.labels)
            words = f"{rng.choice(WORDS)} and the {rng.choice(WORDS)}"
            said = rng.choice(FRAMES).format(task.answers[label], words)
        luck = rng.random()
        yield reference, None if luck < 0.005 else "" if luck < 0.05 else "I cannot tell." if luck < 0.1 else said


def write_cell(root: Storage, task: Task, posts: int) -> CellJob:
    """Write the units of one cell as a run does; return the work of aggregating it."""
    rng = random.Random(task.name)  # noqa: S311  (data, not secrets)
    drawn = answers(task, rng)
    cell = Cell("made-up", "none", "zero_shot", task.name, f"posts_{task.name}", "test")
    files = []
    for start in range(0, posts, POSTS_PER_UNIT):
        rows = [_row(cell, task, at, next(drawn), rng) for at in range(start, min(start + POSTS_PER_UNIT, posts))]
        files.append(f"predictions/{cell.dataset}-{start:08d}.parquet")
        write_unit(root, files[-1], pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA))
    return CellJob(root.uri, "runs/million", cell, task, "lenient", tuple(files), posts, "made-up", 0.0, "million")


def _row(cell: Cell, task: Task, at: int, drawn: tuple[list[str], str | None], rng: random.Random) -> dict[str, Any]:
    reference, output = drawn
    scores = None
    if task.name in SCORED and output is not None:
        positive = min(1.0, max(0.0, rng.gauss(0.6 if reference[0] == task.positive else 0.4, 0.25)))
        scores = {label: positive if label == task.positive else 1 - positive for label in task.labels}
    key = f"{cell.dataset}/test/{at:07d}"
    row = {name: getattr(cell, name) for name in ("model", "adapter", "setting", "task", "dataset", "split")}
    row |= {"run_id": "million", "unit_id": f"{at // POSTS_PER_UNIT}", "post_key": key, "sample_id": f"{at:07d}"}
    row |= {"round": 0, "row_key": f"{rng.getrandbits(256):064x}", "prompt": task.prompt, "reference": reference}
    row |= {"output": output, "label_scores": scores, "score": scores[task.positive or ""] if scores else None}
    error = "RuntimeError: lost" if output is None else None
    return {**row, "error": error, "output_tokens": len((output or "").split())}


def aggregate(root: Storage, jobs: list[CellJob]) -> tuple[list[CellResult], dict[str, float]]:
    """Aggregate the cells and write the table; return them with the CPU seconds of each."""
    results, seconds = [], {}
    for job in jobs:
        started = time.process_time()
        results.append(aggregate_cell(job))
        seconds[job.cell.task] = time.process_time() - started
        print(f"{job.expected:>9,} predictions of {job.cell.task:<12} {seconds[job.cell.task]:6.1f} s", flush=True)
    root.write("results/run_id=million/part-0.parquet", write_results(row for cell in results for row in cell.rows))
    return results, seconds


def by_scikit_learn(root: Storage, job: CellJob) -> dict[str, float]:
    """Return every metric of a cell that scikit-learn has, from each post's parsed answer."""
    columns = _columns(root, job, ("output", "error", "reference", "label_scores", "score"))
    pairs = zip(columns["output"], columns["error"], strict=True)
    parsed = [None if said is None or error else job.task.parse(said, job.policy).values for said, error in pairs]
    if job.task.kind == "tagging":
        return _tags_by_scikit_learn(job.task, columns["reference"], parsed)
    code = {label: at for at, label in enumerate(job.task.labels)}
    true = np.asarray([code[reference[0]] for reference in columns["reference"]])
    said = np.asarray([-1 if values is None else code[values[0]] for values in parsed])
    found = _labels_by_scikit_learn(job.task, true, said)
    if job.task.name in SCORED:
        found |= _scores_by_scikit_learn(job.task, true, columns)
    return found


def _columns(root: Storage, job: CellJob, names: tuple[str, ...]) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    tables = [pq.ParquetFile(root.open_input(path)).read(columns=list(names)) for path in job.files]
    return {name: pa.concat_tables(tables).column(name).to_pylist() for name in names}


def _labels_by_scikit_learn(task: Task, true: Any, said: Any) -> dict[str, float]:
    from sklearn import metrics as sk

    codes = list(range(len(task.labels)))
    found = {
        "accuracy": sk.accuracy_score(true, said),
        "balanced_accuracy": sk.balanced_accuracy_score(true, said),
        "mcc": sk.matthews_corrcoef(true, said),
    }
    functions = {"f1": sk.f1_score, "precision": sk.precision_score, "recall": sk.recall_score}
    for name, function in functions.items():
        for average in ("macro", "micro", "weighted"):
            found[f"{average}_{name}"] = function(true, said, labels=codes, average=average, zero_division=0)
        of_class = function(true, said, labels=codes, average=None, zero_division=0)
        found |= {f"{name}_{label}": of_class[at] for at, label in enumerate(task.labels)}
    return found


def _scores_by_scikit_learn(task: Task, true: Any, columns: dict[str, list[Any]]) -> dict[str, float]:
    from sklearn import metrics as sk

    # A request that failed knows nothing: 0.5, and equal probabilities.
    score = [0.5 if value is None else value for value in columns["score"]]
    equal = dict.fromkeys(task.labels, 1 / len(task.labels))
    matrix = [[(dict(of_post or ()) or equal)[label] for label in task.labels] for of_post in columns["label_scores"]]
    positive = true == task.labels.index(task.positive or "")
    return {
        "auroc": sk.roc_auc_score(positive, score),
        "average_precision": sk.average_precision_score(positive, score),
        "log_loss": sk.log_loss(true, matrix, labels=list(range(len(task.labels)))),
    }


def _tags_by_scikit_learn(task: Task, references: list[list[str]], parsed: list[Any]) -> dict[str, float]:
    from sklearn import metrics as sk
    from sklearn.preprocessing import MultiLabelBinarizer

    true = [{normalise_tag(tag) for tag in reference} for reference in references]
    said = [set(values or ()) for values in parsed]
    known = sorted({normalise_tag(tag) for tag in task.vocabulary})
    every = sorted(set(known).union(*said))

    def matrices(tags: list[str]) -> tuple[Any, Any]:
        code = MultiLabelBinarizer(classes=tags, sparse_output=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tags outside the vocabulary are left out on purpose
            return code.fit_transform(true), code.transform(said)

    over_all, over_known = matrices(every), matrices(known)
    return {
        "sample_f1": sk.f1_score(*over_all, average="samples", zero_division=0),
        "jaccard": sk.jaccard_score(*over_all, average="samples", zero_division=0),
        "micro_f1": sk.f1_score(*over_all, average="micro", zero_division=0),
        "exact_match": sk.accuracy_score(*over_all),
        "macro_f1": sk.f1_score(*over_known, average="macro", zero_division=0),
        "hamming_loss": sk.hamming_loss(*over_known),
    }


def largest_difference(results: list[CellResult], check: Callable[[str], dict[str, float]]) -> tuple[float, int]:
    """Compare every shared metric; return the largest absolute difference and the number of metrics compared."""
    differences: dict[tuple[str, str], float] = {}
    for result in results:
        values = {row.metric: row.value for row in result.rows}
        expected = check(result.cell.task)
        differences |= {(result.cell.task, name): abs(values[name] - value) for name, value in expected.items()}
    task, name = max(differences, key=lambda pair: differences[pair])
    print(
        f"against scikit-learn: {len(differences)} metrics, largest difference {differences[task, name]:.1e} "
        f"({name} of {task})"
    )
    return differences[task, name], len(differences)


def main() -> int:
    """Write the predictions, aggregate them with the clock running, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=PREDICTIONS)
    options = parser.parse_args()
    machine = machine_line(("numpy", "scikit-learn", "pyarrow"))
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")  # answers that cannot be read
    with tempfile.TemporaryDirectory() as folder:
        root = open_storage(folder)
        jobs = [write_cell(root, get_task(name), round(share * options.predictions)) for name, share in SHARES.items()]
        began = time.monotonic()
        results, seconds = aggregate(root, jobs)
        wall = time.monotonic() - began
        if not all(result.complete for result in results):
            raise SystemExit("; ".join(result.shortfall for result in results if not result.complete))
        total, posts = sum(seconds.values()), sum(job.expected for job in jobs)
        print(f"{posts:>9,} predictions to {len(jobs)} cells {total:6.1f} s of one core ({wall:.1f} s by the clock)")
        by_task = {job.cell.task: job for job in jobs}
        difference, _ = largest_difference(results, lambda task: by_scikit_learn(root, by_task[task]))
    print(f"ratio to the bound of {BOUND_S:.0f} s a million: {total / posts * 1e6 / BOUND_S:.2f}")
    print(machine)
    return 0 if difference <= TOLERANCE and total <= BOUND_S * max(1.0, posts / 1e6) else 1


if __name__ == "__main__":
    sys.exit(main())
