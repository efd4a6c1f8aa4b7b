"""The plan of a grid as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mmsoc_ray.grid.adapters import NeededAdapter
from mmsoc_ray.grid.plan import GridPlan, ModelPlan
from mmsoc_ray.models import Dtype

_KINDS = ("cpus", "gpus")
_CAPTION = (
    "TP: tensor parallelism, GPUs over which each layer is split. GB: weights of one engine, in bfloat16 on GPUs and "
    "in float32 on CPUs unless the model's dtype says otherwise; pictures and prompts come on top."
)


def plan_table(plan: GridPlan) -> RenderableType:
    """Return the plan: what each dataset is asked, what each model answers in each setting, and what it takes."""
    return Group(_datasets(plan), "", _models(plan), "", _resources(plan), *map(escape, remarks(plan)))


def adapters_table(adapters: Sequence[NeededAdapter]) -> RenderableType:
    """Return which adapters the fine-tuned settings need, and which of them are still to be trained."""
    table = Table(title="adapters", title_justify="left", pad_edge=False, box=None)
    for name in ("model", "setting", "method", "adapter", ""):
        table.add_column(name, no_wrap=name in ("model", "setting"), style="bold" if name == "model" else "")
    for one in adapters:
        state = "trained" if one.card else "to be trained (--with-training)"
        if one.job is None:
            state = "named and looked for once the model's checkpoint is there"
        table.add_row(escape(one.model), one.setting, one.recipe.method, escape(one.adapter.name), state)
    return table


def needs(model: ModelPlan) -> dict[str, str | float | int]:
    """Return what a model's engine is and needs: weights in GB (10^9 bytes) in the dtype that it most likely gets."""
    entry = model.entry
    dtype: Dtype = entry.dtype_on(model.resources.gpus) or "float32"
    loads = entry.loads_weights
    return {
        "engine": entry.engine,
        "dtype": dtype if loads else "",
        "weights_gb": round(entry.weights_gb(dtype), 1) if loads else 0.0,
        "gpus_of_80_gb": entry.gpus,
        "tensor_parallel": entry.tensor_parallel,
    }


def remarks(plan: GridPlan) -> list[str]:
    """Return what stands in the way of a model: too few GPUs for its weights, or no address of its server."""
    found = []
    for model in plan.models:
        entry, gpus = model.entry, model.resources.gpus
        if 0 < gpus < entry.gpus:
            found.append(f"{entry.name}: its weights want {entry.gpus} GPUs of 80 GB; resources.gpus is {gpus:g}")
        if entry.engine == "endpoint" and entry.endpoint is None:
            found.append(
                f"{entry.name}: a server answers for it; name its address before a run (endpoint: {{url: ...}})"
            )
    return found


def _datasets(plan: GridPlan) -> Table:
    table = Table(title=f"grid {escape(plan.grid.name)}: datasets", title_justify="left", pad_edge=False, box=None)
    table.add_column("dataset", style="bold", no_wrap=True)
    table.add_column("posts", justify="right")
    table.add_column("tasks")
    asked: dict[str, tuple[str, int, dict[str, None]]] = {}
    for model in plan.models:
        for dataset, manifest in model.datasets.items():
            name = f"{dataset}/{manifest.split}"
            tasks = asked.setdefault(dataset, (name, model.posts(dataset), {}))[2]
            tasks.update(dict.fromkeys(question.task for question in model.questions_on(dataset)))
    for name, posts, tasks in asked.values():
        table.add_row(escape(name), f"{posts:,}", " ".join(tasks))
    return table


def _models(plan: GridPlan) -> Table:
    table = Table(title="models", title_justify="left", pad_edge=False, box=None)
    table.add_column("model", style="bold", no_wrap=True)
    table.add_column("setting", no_wrap=True)
    for name in ("cells", "posts", "requests"):
        table.add_column(name, justify="right")
    for model in plan.models:
        for setting in dict.fromkeys(question.setting for question in model.questions):
            table.add_row(escape(model.key), setting, *map("{:,}".format, _counts(model, setting)))
    cells, requests = len(plan.cells()), sum(model.requests for model in plan.models)
    table.add_row("all", "", f"{cells:,}", "", f"{requests:,}", style="bold")
    return table


def _resources(plan: GridPlan) -> Table:
    table = Table(title="resources, one model at a time", title_justify="left", pad_edge=False, box=None)
    table.caption, table.caption_justify = _CAPTION, "left"
    table.add_column("model", style="bold", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    for name in ("actors", "CPUs", "GPUs", "TP", "GB"):
        table.add_column(name, justify="right")
    for model in plan.models:
        taken, need = model.resources, needs(model)
        loaded = (str(need["tensor_parallel"]), f"{need['weights_gb']:.1f}") if need["weights_gb"] else ("", "")
        counts = (str(taken.actors), f"{taken.actors * taken.cpus:g}", f"{taken.actors * taken.gpus:g}")
        table.add_row(escape(model.key), str(need["engine"]), *counts, *loaded)
    most = [max(model.resources.actors * getattr(model.resources, kind) for model in plan.models) for kind in _KINDS]
    table.add_row("most at a time", "", "", *(f"{count:g}" for count in most), style="bold")
    return table


def _counts(model: ModelPlan, setting: str) -> tuple[int, int, int]:
    """Return cells, posts and requests of a model in a setting."""
    questions = [question for question in model.questions if question.setting == setting]
    posts = sum(model.posts(dataset) for dataset in {question.dataset for question in questions})
    return len(questions), posts, sum(model.posts(q.dataset) * q.rounds for q in questions)
