"""What making a run durable costs: a run with attempts, sink and seal, over one that discards its predictions.

    python benchmarks/run_overhead.py                 # units of 30 s, two pairs: about 7 minutes
    python benchmarks/run_overhead.py --unit-s 5

Both go through Ray Data and the same actor, with an engine that takes a stated time for each post (it sleeps, so that
what is measured is all that is not the engine). The discarding run reads and prepares the same units and asks the same
engine, and drops what it says; the durable one records each attempt, writes each unit, counts, seals and scores them.
Both start an actor; Ray is warm before the clock starts. Bound: 1.05 with units of half a minute.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
FAULTS = REPOSITORY / "tests" / "faults"
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests"), str(FAULTS), str(FAULTS / "injected")]

UNITS = 3
POSTS_PER_UNIT = 30
BOUND = 1.05


class DiscardingActor:
    """Asks the engine and drops what it says."""

    def __init__(self, pipeline: Any) -> None:
        from mmsoc_ray.data import open_storage
        from mmsoc_ray.grid.answer import open_answerer

        data = open_storage(pipeline.data_uri)
        self._answer = open_answerer(pipeline.run_id, pipeline.answerer, data, pipeline.fit, threads=1)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[int]]:
        """Answer the one unit of a batch."""
        from mmsoc_ray.grid.wire import PreparedUnit

        unit = PreparedUnit.from_row({name: column[0] for name, column in batch.items()})
        return {"rows": [self._answer(unit).num_rows]}


def prepare(pipeline: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Read and render a unit, as a run does."""
    from mmsoc_ray.grid.stream import render

    rendered = render(pipeline, row)
    return rendered.prepared(dict(rendered.decode())).to_row()


def discard(pipeline: Any, units: list[Any]) -> int:
    """Answer units and keep nothing; return the number of rows."""
    import ray.data

    from mmsoc_ray.grid.stream import PREPARE_CPUS, PREPARE_MEMORY, UNITS_BESIDE

    rows = [dataclasses.asdict(unit) for unit in units]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset = dataset.map(functools.partial(prepare, pipeline), num_cpus=PREPARE_CPUS, memory=PREPARE_MEMORY)
    pool = ray.data.ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=1 + UNITS_BESIDE)
    dataset = dataset.map_batches(
        DiscardingActor, fn_constructor_args=(pipeline,), batch_size=1, compute=pool, num_cpus=0.5
    )
    return sum(int(row["rows"]) for row in dataset.iter_rows())


def measure(folder: Path, unit_s: float) -> tuple[float, float]:
    """Return seconds of a discarding and of a durable run over the same units."""
    from fault_kit import faulty_grid

    from mmsoc_ray.config import load_grid
    from mmsoc_ray.data import open_storage
    from mmsoc_ray.grid import RunProgress, execute, open_run, plan_grid
    from mmsoc_ray.grid.reuse import ReusePolicy
    from mmsoc_ray.grid.run import pipeline_of

    texts = [f"text {number}" for number in range(UNITS * POSTS_PER_UNIT)]
    grid_file = faulty_grid(folder, folder.parent / "checkpoint", texts, posts_per_unit=POSTS_PER_UNIT)
    delay = Path(os.environ["MMSOC_TEST_FAULTS"], "delay_s")
    grid = load_grid(grid_file)
    data = open_storage(grid.data)
    with RunProgress() as progress:
        run = open_run(plan_grid(grid, data), data, open_storage(folder / "out"), "overhead", progress.phase)
        (model,) = run.models
        delay.write_text("0")
        discard(pipeline_of(run, model), model.plan.units())  # the processes of Ray have then imported what they need
        delay.write_text(str(unit_s / POSTS_PER_UNIT))
        started = time.monotonic()
        rows = discard(pipeline_of(run, model), model.plan.units())
        discarding = time.monotonic() - started
        started = time.monotonic()
        result = execute(run, progress, reuse=ReusePolicy.none)
        durable = time.monotonic() - started
    if rows != len(texts) or result.incomplete:
        raise SystemExit("a run lacks predictions")
    return discarding, durable


def main() -> int:
    """Measure pairs and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit-s", type=float, default=30.0, help="seconds that the engine takes for a unit")
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        steering = Path(made) / "steering"
        (Path(made) / "checkpoint").mkdir()
        steering.mkdir()
        os.environ |= {
            "MMSOC_TEST_FAULTS": str(steering),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(FAULTS / "injected")]),
        }
        import runpy

        import ray

        runpy.run_path(str(REPOSITORY / "tests" / "engines" / "conftest.py"))["save_llava_checkpoint"](
            Path(made) / "checkpoint"
        )
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        ray.init(address="local", num_cpus=4, **quiet)
        ratios = []
        for pair in range(options.pairs):
            (Path(made) / str(pair)).mkdir()
            discarding, durable = measure(Path(made) / str(pair), options.unit_s)
            ratios.append(durable / discarding)
            more = (durable - discarding) / UNITS
            print(
                f"{UNITS} units of {options.unit_s:g} s: discarded {discarding:.2f} s, durable, sealed and scored "
                f"{durable:.2f} s, ratio {ratios[-1]:.3f}, {more * 1000:.0f} ms more a unit",
                flush=True,
            )
        ray.shutdown()
    print(f"median ratio {statistics.median(ratios):.3f} (bound {BOUND} with units of 30 s)")
    return 0 if statistics.median(ratios) <= BOUND or options.unit_s < 30 else 1


if __name__ == "__main__":
    sys.exit(main())
