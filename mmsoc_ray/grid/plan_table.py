"""The plan of a grid as people read it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mmsoc_ray.grid.plan import GridPlan, ModelPlan


def plan_table(plan: GridPlan) -> RenderableType:
    """Return the plan: what each dataset is asked, then what each model has to answer in each setting."""
    return Group(_datasets(plan), "", _models(plan))


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
            table.add_row(escape(model.entry.name), setting, *map("{:,}".format, _counts(model, setting)))
    cells, requests = len(plan.cells()), sum(model.requests for model in plan.models)
    table.add_row("all", "", f"{cells:,}", "", f"{requests:,}", style="bold")
    return table


def _counts(model: ModelPlan, setting: str) -> tuple[int, int, int]:
    """Return cells, posts and requests of a model in a setting."""
    questions = [question for question in model.questions if question.setting == setting]
    posts = sum(model.posts(dataset) for dataset in {question.dataset for question in questions})
    return len(questions), posts, sum(model.posts(q.dataset) * q.rounds for q in questions)
