"""Running a grid: plan its cells and units, stream them, seal and aggregate them."""

from mmsoc_ray.grid.plan import BASE_ADAPTER, Cell, GridPlan, ModelPlan, Question, plan_grid
from mmsoc_ray.grid.progress import Receipt, RunProgress
from mmsoc_ray.grid.reuse import ReusePolicy
from mmsoc_ray.grid.run import Run, RunResult, execute, open_run
from mmsoc_ray.grid.run_folder import RunFolder

__all__ = [
    "BASE_ADAPTER",
    "Cell",
    "GridPlan",
    "ModelPlan",
    "Question",
    "Receipt",
    "ReusePolicy",
    "Run",
    "RunFolder",
    "RunProgress",
    "RunResult",
    "execute",
    "open_run",
    "plan_grid",
]
