"""How a run's answers are scored: what may change without asking any model again."""

from __future__ import annotations

from typing import Any

from mmsoc_ray.config import Grid
from mmsoc_ray.tasks import PARSER_VERSION

METRICS_VERSION = 1
"""Raised when a cell gets other metrics, values or intervals from the same parsed answers, or its file another form:
a finished run is then scored anew, and the audit asks for that instead of calling its scores a lie."""

RULES: dict[str, int] = {"parser": PARSER_VERSION, "metrics": METRICS_VERSION}
"""By which rules this version of the package scores."""


def scoring(grid: Grid) -> dict[str, Any]:
    """Return how a grid's answers are read, as JSON.

    It stands in the run's plan beside the configuration, not in it: a run that is called again with another parse
    policy, other synonyms or metrics of a task of its own, a mended parser or new metrics, keeps its answers and is
    scored anew.
    """
    policies = {task: grid.parse_policy(task) for task in sorted(grid.tasks)}
    own = {name: file.model_dump(mode="json") for name, file in sorted(grid.own_tasks.items())}
    return {**RULES, "parse_policy": policies} | ({"own_tasks": own} if own else {})
