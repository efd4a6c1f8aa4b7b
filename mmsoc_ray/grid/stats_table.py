"""The statistics of a run as people read them, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mmsoc_ray.grid.stats import CellStats, JobStats, ModelStats

UNKNOWN = "–"
SHOWN_FROM_S = 0.05
"""Shorter parts of the wall time would be shown as 0.0."""
_CAPTION = (
    f"Rates are over the time of answering, from the first unit's begin to the last one's end; answers that were taken "
    f"over do not count. Busy and waiting: shares of the engines' time since they were loaded. {UNKNOWN}: not known."
)
_MEMORY = "Memory is the highest that was resident in one process, pages shared with Ray's object store included."


def stats_tables(jobs: Sequence[JobStats]) -> RenderableType:
    """Return what each process of a run did: rates, start-up, memory, and where its wall time went."""
    parts: list[RenderableType] = []
    for number, job in enumerate(jobs, start=1):
        state = "" if job.ended else "; it is at work, or was ended: this is what it wrote last"
        title = f"run {job.run_id}, process {number} of {len(jobs)}, started {job.started_at:%Y-%m-%d %H:%M:%S} UTC"
        parts += ["", escape(f"{title}{state}")]
        parts += [part for table in (_answered, _rates, _start_up, _memory, _wall) for part in ("", table(job))]
        parts += [escape(line) for line in _expected(job)]
    if len(jobs) > 1:
        parts += ["", _together(jobs)]
    return Group(*parts[1:], "", escape(_CAPTION), escape(_MEMORY))


def stats_content(job: JobStats) -> dict[str, Any]:
    """Return a process' statistics as JSON, with the figures that follow from them; null is not known."""
    content = job.model_dump(mode="json")
    for name, model in job.models.items():
        asked = model.asked
        content["models"][name] |= {
            "requests": asked.requests,
            "prompt_tokens": asked.prompt_tokens,
            "cached_tokens": asked.cached_tokens,
            "output_tokens": asked.output_tokens,
            **{f"{what}_per_s": model.per_second(amount) for what, amount in _amounts(model).items()},
            "busy_share": model.busy_share,
            "wait_share": None if model.busy_share is None else 1 - model.busy_share,
            "start_up_s": dict(_start_up_parts(job, model)),
            "tail_s": model.tail_s,
            "gpu_hours": model.gpu_hours,
            "expected_s": model.expected_s,
            "took_s": model.took_s,
        }
    content["wall"] = [{"part": part, "seconds": seconds} for part, seconds in _wall_parts(job)]
    return content


def _amounts(model: ModelStats) -> dict[str, int]:
    asked = model.asked
    return {
        "posts": model.posts,
        "requests": asked.requests,
        "prompt_tokens": asked.prompt_tokens,
        "cached_tokens": asked.cached_tokens,
        "output_tokens": asked.output_tokens,
    }


def _answered(job: JobStats) -> Table:
    heads = ("posts", "requests", "errors", "reused", "busy", "waiting", "GPU hours")
    table = _table("answered", "model", *heads)
    for name, model in job.models.items():
        counts = (f"{count:,}" for count in (model.posts, model.asked.requests, model.errors, model.reused))
        busy = model.busy_share
        shares = (_share(busy), _share(None if busy is None else 1 - busy))
        table.add_row(escape(name), *counts, *shares, f"{model.gpu_hours:.2f}")
    return table


def _rates(job: JobStats) -> Table:
    heads = ("posts", "requests", "prompt tokens", "cached tokens", "output tokens")
    table = _table("per second", "model", *heads)
    for name, model in job.models.items():
        table.add_row(escape(name), *(_rate(model.per_second(amount)) for amount in _amounts(model).values()))
    return table


def _expected(job: JobStats) -> Iterator[str]:
    for name, model in job.models.items():
        if (expected := model.expected_s) and (took := model.took_s):
            yield f"{name}: {expected:,.0f} s were expected, it took {took:,.0f} s ({took / expected - 1:+.0%})"


def _together(jobs: Sequence[JobStats]) -> Table:
    heads = ("posts", "requests", "reused", "prompt t", "cached t", "output t", "engine s", "GPU h")
    table = _table("all processes", "model", *heads)
    for name in dict.fromkeys(name for job in jobs for name in job.models):
        models = [job.models[name] for job in jobs if name in job.models]
        asked = CellStats()
        for model in models:
            asked.add(model.asked)
        posts, reused = sum(model.posts for model in models), sum(model.reused for model in models)
        tokens = (asked.prompt_tokens, asked.cached_tokens, asked.output_tokens)
        counts = (f"{count:,}" for count in (posts, asked.requests, reused, *tokens))
        busy, hours = sum(model.busy_s for model in models), sum(model.gpu_hours for model in models)
        table.add_row(escape(name), *counts, _seconds(busy), f"{hours:.2f}")
    return table


def _start_up_parts(job: JobStats, model: ModelStats) -> Iterator[tuple[str, float | None]]:
    yield "ray", job.ray_s
    yield "processes", model.processes_s
    yield "imports", model.imports_s
    yield "weights", model.weights_s
    yield "first_data", None if model.begin_s is None else model.first_wait_s
    yield "first_answer", model.first_answer_s


def _start_up(job: JobStats) -> Table:
    heads = ("Ray", "processes", "imports", "weights", "first data", "first answer", "sum")
    table = _table("start-up, seconds", "model", *heads)
    for name, model in job.models.items():
        seconds = [seconds for _, seconds in _start_up_parts(job, model)]
        total = None if None in seconds else sum(filter(None, seconds))
        table.add_row(escape(name), *map(_seconds, (*seconds, total)))
    return table


def _memory(job: JobStats) -> Table:
    table = _table("peak memory, GB", "process", "engine", "preparing", "GPU", "driver")
    for name, model in job.models.items():
        peaks = (model.engine_peak_bytes or None, model.prepare_peak_bytes or None, model.gpu_peak_bytes)
        table.add_row(escape(name), *map(_gb, peaks), "")
    table.add_row("driver", "", "", "", _gb(job.driver_peak_bytes or None), style="bold")
    return table


def _wall_parts(job: JobStats) -> Iterator[tuple[str, float]]:
    """Yield where the wall time went; the parts sum up to it."""
    parts = [("checkpoints and plan", job.opening_s), ("starting Ray", job.ray_s)]
    for name, model in job.models.items():
        parts += [
            (f"{name}: taking over", model.take_over_s),
            (f"{name}: start-up", model.stream_s if model.begin_s is None else model.begin_s),
            (f"{name}: answering", model.answering_s or 0.0),
            (f"{name}: tail", model.tail_s or 0.0),
        ]
    parts.append(("sealing, scores and table", job.aggregate_s))
    yield from parts
    yield "other", max(0.0, job.wall_s - sum(seconds for _, seconds in parts))


def _wall(job: JobStats) -> Table:
    table = _table("where the time went", "part", "seconds", "share", "engines busy", "waiting", "writing beside")
    for part, seconds in _wall_parts(job):
        model = job.models.get(part.removesuffix(": answering"))
        beside = map(_seconds, (model.busy_s, model.wait_s, model.sink_s)) if model and model.posts else ("", "", "")
        if seconds >= SHOWN_FROM_S:
            table.add_row(
                escape(part), _seconds(seconds), _share(seconds / job.wall_s if job.wall_s else None), *beside
            )
    table.add_row("all", _seconds(job.wall_s), "", "", "", "", style="bold")
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", pad_edge=False, box=None)
    table.add_column(first, style="bold", no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _rate(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"


def _gb(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value / 1e9:.2f}"
