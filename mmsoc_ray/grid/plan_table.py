"""The plan of a grid as people read it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from mmsoc_ray.grid.plan import GridPlan


def plan_table(plan: GridPlan) -> RenderableType:
    """Return cells, posts and requests of a plan, a row for each model, setting and dataset."""
    table = Table(title=f"plan of grid {escape(plan.grid.name)}", title_justify="left")
    for name in ("model", "setting", "dataset", "tasks"):
        table.add_column(name, overflow="fold")
    for name in ("cells", "posts", "requests"):
        table.add_column(name, justify="right")
    cells = requests = 0
    for model in plan.models:
        for setting in dict.fromkeys(question.setting for question in model.questions):
            for dataset, manifest in model.datasets.items():
                tasks = [q.task for q in model.questions if (q.setting, q.dataset) == (setting, dataset)]
                if not tasks:
                    continue
                posts = model.posts(dataset)
                cells, requests = cells + len(tasks), requests + posts * len(tasks)
                table.add_row(
                    escape(model.entry.name), setting, f"{escape(dataset)}/{manifest.split}", " ".join(tasks),
                    str(len(tasks)), f"{posts:,}", f"{posts * len(tasks):,}",
                )  # fmt: skip
    table.add_section()
    table.add_row("all", "", "", "", str(cells), "", f"{requests:,}", style="bold")
    return Group(table)
