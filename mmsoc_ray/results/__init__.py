"""What a run found: cells scored, the results table, and how it is shown."""

from mmsoc_ray.results.schema import PREDICTION_SCHEMA, RESULT_SCHEMA
from mmsoc_ray.results.table import CellKey, ResultRow, read_results, sort_rows, write_results

__all__ = [
    "PREDICTION_SCHEMA",
    "RESULT_SCHEMA",
    "CellKey",
    "ResultRow",
    "read_results",
    "sort_rows",
    "write_results",
]
