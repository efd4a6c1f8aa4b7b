"""What a run found: cells scored, the results table, and how it is shown."""

from mmsoc_ray.results.cells import HEADLINE, CellRows, CellScores, MetricValue, higher_is_better, score_cell
from mmsoc_ray.results.escape import markdown_cell, printable
from mmsoc_ray.results.export import to_csv, to_json, to_markdown
from mmsoc_ray.results.overview import Incomplete
from mmsoc_ray.results.render import render_table, save_svg
from mmsoc_ray.results.schema import PREDICTION_SCHEMA, RESULT_SCHEMA
from mmsoc_ray.results.table import CellKey, ResultRow, read_results, sort_rows, write_results

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
