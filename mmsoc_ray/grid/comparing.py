"""What fine-tuning gained: each fine-tuned cell against what it has to beat, one task per pair of cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mmsoc_ray.data import open_storage
from mmsoc_ray.grid.aggregate import CellJob, read_cell_rows
from mmsoc_ray.grid.plan import Cell
from mmsoc_ray.results.comparisons import Comparison
from mmsoc_ray.tasks import FINETUNED, is_finetuned

BASELINE = "baseline"
"""Family of the models that look at no picture and learn nothing of language."""


@dataclass(frozen=True)
class ComparisonJob:
    """What a comparing task needs: two cells of one task on the same posts."""

    job: CellJob
    over: CellJob


def comparison_jobs(
    jobs: Sequence[CellJob], base_settings: Mapping[str, str], complete: Collection[Cell]
) -> Iterator[ComparisonJob]:
    """Yield each fine-tuned cell with those that it is compared with.

    These are the same model as it came, in the setting whose prompts the fine-tuned one has; for
    ``finetuned_explained`` the same model ``finetuned``; and every baseline. Only complete cells count.

    Args:
        jobs: All cells of a run.
        base_settings: Model to the setting that its fine-tuned ones build on.
        complete: The cells that have their scores.
    """
    there = [job for job in jobs if job.cell in complete]
    for job in there:
        if is_finetuned(job.cell.setting):
            base = base_settings[job.cell.model]
            yield from (ComparisonJob(job, other) for other in there if _has_to_beat(job.cell, other, base))


def _has_to_beat(cell: Cell, other: CellJob, base_setting: str) -> bool:
    if (cell.task, cell.dataset, cell.split) != (other.cell.task, other.cell.dataset, other.cell.split):
        return False
    if other.family == BASELINE:
        return True
    earlier = {base_setting, FINETUNED} if cell.setting == "finetuned_explained" else {base_setting}
    return other.cell.model == cell.model and other.cell.setting in earlier


def compare_cells(pair: ComparisonJob) -> list[Comparison]:
    """Compare two cells metric by metric; see ``results.gains``."""
    from mmsoc_ray.results.gains import gains

    root = open_storage(pair.job.root_uri)
    job, over = pair.job, pair.over
    encoder = job.bertscore.open() if job.bertscore is not None and job.task.kind == "free_text" else None
    found = gains(
        job.task,
        read_cell_rows(root, job),
        read_cell_rows(root, over),
        identity=f"{job.cell.identity}|{over.cell.identity}",
        policy=job.policy,
        bertscore=encoder,
    )
    cell, beaten = dataclasses.astuple(job.cell), dataclasses.astuple(over.cell)
    return [Comparison(**dataclasses.asdict(gain), cell=cell, over=beaten, n=job.expected) for gain in found]
