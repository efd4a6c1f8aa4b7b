"""The estimate of a plan as people read it, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mmsoc_ray.grid.estimate import CORE_FLOPS, GPU_FLOPS, ModelEstimate, total
from mmsoc_ray.grid.forecast import Forecast
from mmsoc_ray.grid.plan import GridPlan, ModelPlan, Question
from mmsoc_ray.grid.screen import duration
from mmsoc_ray.grid.stats import cell_key

UNKNOWN = "–"
_CAPTION = (
    "What can be taken over of earlier runs is neither asked nor counted. From: the earlier run of the model whose "
    "figures these are; of a cell, measured there or similar to others of the model. Assumed, where there is no such "
    "run: tokens follow from the registry, the prompts and the limits of answers, seconds (without start-up) from "
    f"{GPU_FLOPS / 1e12:g} TFLOP/s a GPU or {CORE_FLOPS / 1e9:g} GFLOP/s a core. {UNKNOWN}: not known."
)


def forecast_tables(plan: GridPlan, forecast: Forecast, *, gpu_hour: float | None, cells: bool) -> RenderableType:
    """Return the estimate: a line for each model and, where wanted, for each cell.

    Args:
        plan: The grid.
        forecast: What it will take.
        gpu_hour: Price of a GPU's hour; without one no cost is shown.
        cells: Whether each cell is shown, too.
    """
    tables: list[RenderableType] = [_models(plan, forecast, gpu_hour)]
    for model in plan.models if cells else ():
        tables += ["", _cells(model, forecast, gpu_hour)]
    said = [line for name, estimate in forecast.models.items() for line in _said(name, estimate)]
    said += [
        f"{name}: whether weights and examples are those of the earlier run, only a run will tell (reused?)"
        for name, known in forecast.known.items()
        if any(not one.sure for one in known.values())
    ]
    return Group(*tables, escape(_CAPTION), *map(escape, said))


def forecast_content(plan: GridPlan, forecast: Forecast, *, gpu_hour: float | None) -> dict[str, Any]:
    """Return the estimate of each model as JSON; null is not known."""
    return {
        model.key: {
            **_amounts(forecast.models[model.key], gpu_hour),
            "overhead_s": forecast.models[model.key].overhead_s,
            "basis": forecast.models[model.key].basis,
            "last_estimate": _last(forecast.models[model.key]),
        }
        for model in plan.models
    }


def cell_content(model: ModelPlan, question: Question, forecast: Forecast, *, gpu_hour: float | None) -> dict[str, Any]:
    """Return the estimate of a cell as JSON; null is not known."""
    estimate = forecast.models[model.key]
    cell = next(cell for cell in estimate.cells if cell.cell == model.cell(question))
    known = forecast.known[model.key].get(question)
    hours = estimate.gpu_hours_of(cell.seconds)
    return {
        "answers": _mark(model, question, forecast),
        "reused_posts": known.posts if known else 0,
        "reused_from": known.run_id if known else None,
        "requests": cell.requests,
        "prompt_tokens": _whole(cell.prompt_tokens),
        "output_tokens": _whole(cell.output_tokens),
        "seconds": cell.seconds,
        "gpu_hours": hours,
        "cost": _cost(hours, gpu_hour),
        "basis": cell.basis,
    }


def _amounts(estimate: ModelEstimate, gpu_hour: float | None) -> dict[str, Any]:
    return {
        "requests": sum(cell.requests for cell in estimate.cells),
        "prompt_tokens": _whole(total(cell.prompt_tokens for cell in estimate.cells)),
        "output_tokens": _whole(total(cell.output_tokens for cell in estimate.cells)),
        "seconds": estimate.seconds,
        "gpu_hours": estimate.gpu_hours,
        "cost": _cost(estimate.gpu_hours, gpu_hour),
    }


def _last(estimate: ModelEstimate) -> dict[str, Any] | None:
    if estimate.last is None:
        return None
    run_id, expected, took = estimate.last
    return {"run_id": run_id, "expected_s": expected, "took_s": took, "off": took / expected - 1}


def _models(plan: GridPlan, forecast: Forecast, gpu_hour: float | None) -> Table:
    table = _table("estimate, prompt and output in tokens", ("model", "reused"), gpu_hour)
    for model in plan.models:
        estimate = forecast.models[model.key]
        known = forecast.known[model.key]
        reused = sum(one.posts * question.rounds for question, one in known.items())
        mark = f"{reused:,}{'' if all(one.sure for one in known.values()) else '?'}"
        table.add_row(
            escape(model.key),
            mark,
            *_row(_amounts(estimate, gpu_hour), gpu_hour),
            escape(estimate.basis),
        )
    amounts = [_amounts(forecast.models[model.key], gpu_hour) for model in plan.models]
    sums = {name: sum(one[name] or 0 for one in amounts) for name in amounts[0]}
    bounds = ["> " if any(one[name] is None for one in amounts) else "" for name in amounts[0]]
    table.add_row("all", "", *map("".join, zip(bounds, _row(sums, gpu_hour), strict=False)), "", style="bold")
    return table


def _cells(model: ModelPlan, forecast: Forecast, gpu_hour: float | None) -> Table:
    table = _table(f"cells of {escape(model.key)}", ("cell", "answers"), gpu_hour)
    for question in model.questions:
        content = cell_content(model, question, forecast, gpu_hour=gpu_hour)
        name = cell_key(question.setting, question.task, question.dataset)
        table.add_row(escape(name), content["answers"], *_row(content, gpu_hour), content["basis"])
    return table


def _mark(model: ModelPlan, question: Question, forecast: Forecast) -> str:
    known = forecast.known[model.key].get(question)
    if known is None:
        return "new"
    mark = "reused" if known.posts == model.posts(question.dataset) else "partly"
    return mark if known.sure else f"{mark}?"


def _table(title: str, names: tuple[str, str], gpu_hour: float | None) -> Table:
    table = Table(title=title, title_justify="left", pad_edge=False, box=None)
    first, second = names
    table.add_column(first, style="bold", overflow="fold")
    table.add_column(second, justify="right", no_wrap=True)
    for name in ("requests", "prompt", "output", "time", "GPU hours"):
        table.add_column(name, justify="right", no_wrap=True)
    if gpu_hour is not None:
        table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    return table


def _row(amounts: dict[str, Any], gpu_hour: float | None) -> list[str]:
    counts = [_count(amounts[name]) for name in ("requests", "prompt_tokens", "output_tokens")]
    seconds, hours, cost = amounts["seconds"], amounts["gpu_hours"], amounts["cost"]
    row = [*counts, UNKNOWN if seconds is None else duration(seconds), UNKNOWN if hours is None else f"{hours:.2f}"]
    return row if gpu_hour is None else [*row, UNKNOWN if cost is None else f"{cost:,.2f}"]


def _said(name: str, estimate: ModelEstimate) -> Iterator[str]:
    if estimate.last is not None:
        run_id, expected, took = estimate.last
        yield f"{name}: last estimate {expected:,.0f} s, took {took:,.0f} s ({took / expected - 1:+.0%}) in {run_id}"


def _cost(hours: float | None, gpu_hour: float | None) -> float | None:
    return None if hours is None or gpu_hour is None else hours * gpu_hour


def _whole(tokens: float | None) -> int | None:
    return None if tokens is None else round(tokens)


def _count(amount: float | None) -> str:
    return UNKNOWN if amount is None else f"{amount:,.0f}"
