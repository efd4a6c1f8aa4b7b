"""What a run found: cells scored, the results table, and how it is shown."""

from importlib import import_module
from typing import TYPE_CHECKING

from mmsoc_ray.results.escape import markdown_cell, printable
from mmsoc_ray.results.schema import PREDICTION_SCHEMA, RESULT_SCHEMA
from mmsoc_ray.results.table import CellKey, ResultRow, read_results, sort_rows, write_results

if TYPE_CHECKING:
    from mmsoc_ray.results.cells import HEADLINE, CellRows, CellScores, MetricValue, higher_is_better, score_cell
    from mmsoc_ray.results.export import to_csv, to_json, to_markdown
    from mmsoc_ray.results.overview import Incomplete
    from mmsoc_ray.results.render import render_table, save_svg

__all__ = [
    "HEADLINE",
    "PREDICTION_SCHEMA",
    "RESULT_SCHEMA",
    "CellKey",
    "CellRows",
    "CellScores",
    "Incomplete",
    "MetricValue",
    "ResultRow",
    "higher_is_better",
    "markdown_cell",
    "printable",
    "read_results",
    "render_table",
    "save_svg",
    "score_cell",
    "sort_rows",
    "to_csv",
    "to_json",
    "to_markdown",
    "write_results",
]

# Scoring imports scikit-learn, scipy and pandas, some three seconds and 150 MB that the workers which only write
# predictions need not spend: these names are imported when they are first asked for.
_ON_DEMAND = {
    "cells": ("HEADLINE", "CellRows", "CellScores", "MetricValue", "higher_is_better", "score_cell"),
    "export": ("to_csv", "to_json", "to_markdown"),
    "overview": ("Incomplete",),
    "render": ("render_table", "save_svg"),
}


def __getattr__(name: str) -> object:
    for module, names in _ON_DEMAND.items():
        if name in names:
            return getattr(import_module(f"mmsoc_ray.results.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
