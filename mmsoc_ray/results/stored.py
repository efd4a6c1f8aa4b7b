"""Reading a run's results back from where they are stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmsoc_ray.data import Storage, open_storage
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.results.comparisons import Comparison, read_comparisons
from mmsoc_ray.results.footnotes import policy_notes
from mmsoc_ray.results.overview import NO_ADAPTER
from mmsoc_ray.results.table import CellKey, ResultRow, read_results
from mmsoc_ray.training.adapters import AdapterCard, read_card


@dataclass(frozen=True)
class StoredRun:
    """The results of a run.

    Attributes:
        rows: One row per cell and metric.
        notes: Lines shown beneath the table.
        incomplete: Cells that lack predictions: found and expected posts.
        comparisons: What its fine-tuned cells gained.
        adapters: Cards of the adapters in the rows, but for those that were removed or broken since.
    """

    rows: list[ResultRow]
    notes: tuple[str, ...]
    incomplete: Mapping[CellKey, tuple[int, int]]
    comparisons: Sequence[Comparison] = ()
    adapters: Sequence[AdapterCard] = ()


def read_run(root_uri: str, run_id: str) -> StoredRun:
    """Read a run's part of the results table, by its manifest.

    Raises:
        ConfigurationError: Where there is no such run or it has no table yet.
    """
    root = open_storage(root_uri)
    try:
        manifest = json.loads(root.read(f"manifests/{run_id}.json"))
        plan = json.loads(root.read(f"runs/{run_id}/plan.json"))
    except FileNotFoundError as error:
        known = sorted(path.split("/")[1].removesuffix(".json") for path in root.list_files("manifests"))
        raise ConfigurationError(
            f"{root.uri} has no finished run {run_id!r}. Runs with a table: {', '.join(known) or '(none)'}."
        ) from error
    incomplete = {
        _cell_of(path): (counts["found"], counts["expected"]) for path, counts in manifest["incomplete"].items()
    }
    notes = (*policy_notes(plan.get("scoring", {}).get("parse_policy", {})), *plan["notes"])
    if manifest.get("status") == "under_way":
        notes = (*notes, "The run is being taken up, or was when its process ended: this table is from before.")
    compared = manifest.get("comparisons")
    comparisons = [] if compared is None else read_comparisons(root.read(compared["file"]))
    rows = read_results(root.read(manifest["results"]["file"]))
    cards, unread = _cards(root, rows)
    return StoredRun(rows, (*notes, *unread), incomplete, comparisons, cards)


def _cards(root: Storage, rows: Iterable[ResultRow]) -> tuple[list[AdapterCard], list[str]]:
    """Return the cards of the rows' adapters, and what is wrong with those that cannot be read."""
    cards, unread = [], []
    for name in sorted({row.adapter for row in rows} - set(NO_ADAPTER)):
        try:
            card = read_card(root, name)
        except ConfigurationError as error:
            unread.append(str(error))
        else:
            cards += [] if card is None else [card]
    return cards, unread


def _cell_of(path: str) -> CellKey:
    _, model, adapter, setting, task, dataset, split = path.removesuffix(".json").split("/")
    return (model, adapter, setting, task, dataset, split)
