"""Self-improvement cells: how far each round's answers have moved away from the reference since round 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmsoc_ray.metrics import Floats, MeanStatistic, intervals, resampled_weights, rouge_scores
from mmsoc_ray.results.cells import CellRows, MetricValue
from mmsoc_ray.tasks import Parsed, ParsePolicy, Task, normalise_tag

DRIFT = "drift"


def agreements(task: Task, rows: CellRows, policy: ParsePolicy) -> Floats:
    """Return how far each post's answer agrees with its reference, from 0 to 1, in the order of the post keys.

    Classification: 1 for the true label. Tagging: F1 between the tags given and the true ones. OCR and free text:
    ROUGE-L, of several references the best. An unparsed or failed answer has 0.
    """
    order = sorted(range(len(rows.post_key)), key=rows.post_key.__getitem__)
    references = [rows.reference[at] for at in order]
    parsed = [_parsed(task, rows.output[at], rows.error[at], policy) for at in order]
    if task.kind == "classification":
        pairs = zip(parsed, references, strict=True)
        return np.asarray([said is not None and said.value == true[0] for said, true in pairs], np.float64)
    if task.kind == "tagging":
        return np.asarray([_tag_f1(said, true) for said, true in zip(parsed, references, strict=True)], np.float64)
    texts = [None if said is None else said.value for said in parsed]
    return np.asarray(rouge_scores(texts, references, ("rouge_l",))["rouge_l"], np.float64)


def drifts(task: Task, rounds: Sequence[CellRows], *, identity: str, policy: ParsePolicy) -> list[MetricValue]:
    """Return ``drift@round_<r>`` of every round after the first, with intervals over posts (paired).

    Args:
        task: The task.
        rounds: The predictions of each round, all on the same posts.
        identity: Names the cell; seeds the bootstrap.
        policy: How tolerantly answers are read.
    """
    first, *later = (agreements(task, rows, policy) for rows in rounds)
    falls = {f"{DRIFT}@round_{number}": first - agreement for number, agreement in enumerate(later, start=1)}
    statistic = MeanStatistic(falls)
    values = statistic(np.ones((1, len(first)), np.int64))
    bounds = intervals(resampled_weights(len(first), f"{identity}|{DRIFT}"), statistic)
    return [MetricValue(name, float(value[0]), *bounds[name]) for name, value in values.items()]


def _parsed(task: Task, output: str | None, error: str | None, policy: ParsePolicy) -> Parsed | None:
    return None if output is None or error is not None else task.parse(output, policy)


def _tag_f1(said: Parsed | None, reference: Sequence[str]) -> float:
    true = {normalise_tag(tag) for tag in reference}
    given = set(said.values or ()) if said is not None else set()
    return 2 * len(true & given) / (len(true) + len(given))
