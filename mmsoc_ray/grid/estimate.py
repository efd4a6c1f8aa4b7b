"""What a run will take: tokens and seconds, from what earlier runs measured, else from the registry."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mmsoc_ray.grid.plan import Cell, ModelPlan, Question
from mmsoc_ray.grid.stats import CellStats, Estimate, JobStats, ModelStats, cell_key

ENOUGH_REQUESTS = 100
"""Figures of the newest run that asked so many count, else those of the run that asked most."""

ASSUMED = "assumed"
FLOP_PER_TOKEN = 2
"""For each parameter (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""
GPU_FLOPS = 100e12
"""Assumed of a GPU: a third of the dense bfloat16 peak of an A100, 312 TFLOP/s by NVIDIA's data sheet."""
CORE_FLOPS = 20e9
"""Assumed of a CPU core."""


@dataclass(frozen=True)
class Measured:
    """What an earlier run measured of a model.

    Attributes:
        run_id: The run.
        model: The model in one of its processes.
        scale: How many times its GPUs the model has now.
    """

    run_id: str
    model: ModelStats
    scale: float


@dataclass(frozen=True)
class CellEstimate:
    """What one cell will take.

    Attributes:
        cell: The cell.
        requests: Requests that are to be asked; those that can be taken over are left out.
        prompt_tokens: Tokens of their prompts; None where not known.
        output_tokens: Tokens of their answers.
        seconds: Its part of the model's time of answering; None where not known.
        basis: ``measured`` in this cell, ``similar`` where it was another cell of the model, or ``assumed``.
    """

    cell: Cell
    requests: int
    prompt_tokens: float | None
    output_tokens: float | None
    seconds: float | None
    basis: str


@dataclass(frozen=True)
class ModelEstimate:
    """What one model will take.

    Attributes:
        cells: Its cells.
        overhead_s: Seconds of start-up and tail; None where not known.
        basis: The run whose figures it rests on; ``assumed`` where it rests on the registry.
        gpus: GPUs of all its engines.
        last: The newest earlier run that had an estimate, with the seconds expected and taken.
    """

    cells: tuple[CellEstimate, ...]
    overhead_s: float | None
    basis: str
    gpus: float
    last: tuple[str, float, float] | None = None

    @property
    def seconds(self) -> float | None:
        """Seconds of answering and, where known, of start-up and tail; 0 where nothing is to be asked."""
        if not any(cell.requests for cell in self.cells):
            return 0.0
        answering = total(cell.seconds for cell in self.cells)
        return None if answering is None else answering + (self.overhead_s or 0.0)

    @property
    def gpu_hours(self) -> float | None:
        """Hours of its GPUs together."""
        return self.gpu_hours_of(self.seconds)

    def gpu_hours_of(self, seconds: float | None) -> float | None:
        """Return the hours of its GPUs together over some seconds."""
        if not self.gpus:
            return 0.0
        return None if seconds is None else seconds * self.gpus / 3600


def total(amounts: Iterable[float | None]) -> float | None:
    """Return a sum; None where a part is not known."""
    known = list(amounts)
    return None if None in known else sum(filter(None, known))


PromptTokens = Callable[[Question], float | None]


def estimate_model(
    plan: ModelPlan,
    jobs: Sequence[JobStats],
    prompt_tokens: PromptTokens,
    reused: Callable[[Question], int] = lambda question: 0,
) -> ModelEstimate:
    """Estimate what a model will take.

    Seconds are the time of answering of an earlier run of the model, over the tokens that it computed (prompts as far
    as they were not cached, and answers), or over its requests where it computes none. More GPUs are taken to be
    faster in proportion; more engines on a CPU, which share its cores, not.

    Args:
        plan: The model's part of the grid.
        jobs: Statistics of earlier runs, the newest first.
        prompt_tokens: Gives the tokens of a request's prompt by the registry.
        reused: Gives the posts of a question whose answers can be taken over.
    """
    found = measured(plan, jobs)
    cells = tuple(_cell(plan, question, found, prompt_tokens, reused(question)) for question in plan.questions)
    gpus = plan.resources.actors * plan.resources.gpus
    overhead = None if found is None else found.model.overhead_s
    basis = ASSUMED if found is None else found.run_id
    return ModelEstimate(cells, overhead, basis, gpus, last_estimate(plan, jobs))


def as_expected(estimate: ModelEstimate) -> Estimate | None:
    """Return an estimate as a run records it, so that it can be held against what the run took."""
    seconds = {
        cell_key(c.cell.setting, c.cell.task, c.cell.dataset): c.seconds / c.requests
        for c in estimate.cells
        if c.seconds is not None and c.requests
    }
    return Estimate(basis=estimate.basis, overhead_s=estimate.overhead_s, request_s=seconds) if seconds else None


def measured(plan: ModelPlan, jobs: Sequence[JobStats]) -> Measured | None:
    """Return what the estimate of a model rests on: the same model, engine, dtype and kind of device.

    Args:
        plan: The model's part of the grid.
        jobs: Statistics of earlier runs, the newest first.
    """
    entry, gpus = plan.entry, plan.resources.actors * plan.resources.gpus
    dtype = entry.dtype_on(gpus)
    found = [
        Measured(job.run_id, model, gpus / (model.actors * model.gpus) if gpus else 1.0)
        for job in jobs
        if (model := job.models.get(plan.key)) is not None
        and model.engine == entry.engine
        and (model.gpus > 0) == (gpus > 0)
        and (dtype is None or model.dtype in (dtype, None))
        and model.answering_s
        and model.asked.requests
    ]
    enough = next((one for one in found if one.model.asked.requests >= ENOUGH_REQUESTS), None)
    return enough or max(found, key=lambda one: one.model.asked.requests, default=None)


def last_estimate(plan: ModelPlan, jobs: Sequence[JobStats]) -> tuple[str, float, float] | None:
    """Return the newest run whose estimate of the model can be held against what it took: run, expected, taken."""
    for job in jobs:
        model = job.models.get(plan.key)
        if model is not None and job.ended and (expected := model.expected_s) and (took := model.took_s):
            return job.run_id, expected, took
    return None


def _cell(
    plan: ModelPlan, question: Question, found: Measured | None, prompt_tokens: PromptTokens, reused: int
) -> CellEstimate:
    cell = plan.cell(question)
    requests = max(0, plan.posts(question.dataset) - reused) * question.rounds
    if found is None:
        return _assumed(plan, question, requests, prompt_tokens(question))
    like, basis = _like(found.model, question)
    share = requests / like.requests
    a_request = _weight(like, found.model.asked) / like.requests
    per_weight = (found.model.answering_s or 0.0) / _weight(found.model.asked, found.model.asked) / found.scale
    return CellEstimate(
        cell, requests, share * like.prompt_tokens, share * like.output_tokens, requests * a_request * per_weight, basis
    )


def _assumed(plan: ModelPlan, question: Question, requests: int, prompt: float | None) -> CellEstimate:
    cell = plan.cell(question)
    if plan.entry.engine == "baseline":
        return CellEstimate(cell, requests, 0.0, 0.0, None, ASSUMED)
    output, a_second = float(question.max_new_tokens), _assumed_tokens_per_s(plan)
    seconds = None if prompt is None or not a_second else requests * (prompt + output) / a_second
    prompts = None if prompt is None else requests * prompt
    return CellEstimate(cell, requests, prompts, requests * output, seconds, ASSUMED)


def _like(model: ModelStats, question: Question) -> tuple[CellStats, str]:
    """Return what was measured of a question, else of those that are most like it."""
    key = cell_key(question.setting, question.task, question.dataset)
    if key in model.cells:
        return model.cells[key], "measured"
    for alike in (cell_key(question.setting, question.task, ""), f"{question.setting}/", ""):
        cells = [cell for name, cell in model.cells.items() if name.startswith(alike)]
        if cells:
            together = CellStats()
            for cell in cells:
                together.add(cell)
            return together, "similar"
    raise ValueError("nothing was asked")


def _weight(cell: CellStats, asked: CellStats) -> int:
    """Return what seconds are shared over: tokens, or requests of a model that computes none."""
    return cell.computed_tokens if asked.computed_tokens else cell.requests


def _assumed_tokens_per_s(plan: ModelPlan) -> float:
    """Return the assumed throughput of a model's engines; 0 where nothing can be assumed."""
    entry, resources = plan.entry, plan.resources
    if not entry.loads_weights or not entry.parameters_b:
        return 0.0
    cores = resources.actors * resources.threads if resources.threads else os.cpu_count() or 1
    flops = resources.actors * resources.gpus * GPU_FLOPS if resources.gpus else cores * CORE_FLOPS
    return flops / (FLOP_PER_TOKEN * entry.parameters_b * 1e9)
