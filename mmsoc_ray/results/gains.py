"""What is gained by one way to answer over another on the same posts: differences, intervals, paired tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmsoc_ray.metrics import (
    Counts,
    Encoder,
    Floats,
    Statistic,
    bootstrap_p,
    mcnemar_exact,
    normalise_text,
    percentile_interval,
    resampled_counts,
    resampled_values,
    resampled_weights,
)
from mmsoc_ray.results.cells import CellRows, Part, ReadCell, label_codes, parts_of, read_cell
from mmsoc_ray.results.comparisons import Gain, Test
from mmsoc_ray.tasks import ParsePolicy, Task, normalise_tag


def gains(
    task: Task,
    rows: CellRows,
    other: CellRows,
    *,
    identity: str,
    policy: ParsePolicy = "lenient",
    bertscore: Encoder | None = None,
) -> tuple[Gain, ...]:
    """Compare two cells of a task on the same posts, metric by metric.

    Both are resampled with the same posts each time, so that what is hard for both does not widen the interval. The
    result depends on the rows and the identity only, not on the rows' order.

    Args:
        task: The task.
        rows: The predictions of the cell.
        other: Those that it is compared with.
        identity: Names the pair; seeds the bootstrap.
        policy: How tolerantly answers are read.
        bertscore: Encoder with which free text has ``bertscore_f1`` too.

    Raises:
        ValueError: The cells are not of the same posts; or as ``score_cell``.
    """
    ours, theirs = read_cell(task, rows, policy), read_cell(task, other, policy)
    if ours.rows.post_key != theirs.rows.post_key or ours.rows.reference != theirs.rows.reference:
        raise ValueError(f"two cells of task {task.name!r} that are to be compared have other posts or references")
    parts, others = parts_of(task, ours, bertscore), parts_of(task, theirs, bertscore)
    exact = _exact_tests(task, ours, theirs)
    found: dict[str, Gain] = {}
    for name in parts:
        if name in others:
            pair = (
                _label_pair(task, ours, theirs, parts[name]) if name == "labels" else _pair(parts[name], others[name])
            )
            for gain in _gains(pair, f"{identity}|{name}", exact):
                found[gain.metric] = gain
    return tuple(found[name] for name in task.metrics if name in found)


@dataclass(frozen=True)
class _Pair:
    """Two cells' metrics of the same resample."""

    observed: Counts
    ours: Statistic
    theirs: Statistic
    of_posts: bool


def _pair(ours: Part, theirs: Part) -> _Pair:
    return _Pair(ours.observed, ours.statistic, theirs.statistic, of_posts=True)


def _label_pair(task: Task, ours: ReadCell, theirs: ReadCell, part: Part) -> _Pair:
    """Count posts by true label, what the one said and what the other said: kinds are few, posts may be many."""
    labels, width = len(task.labels), len(task.labels) + 2
    (true, said), (_, also) = label_codes(task, ours), label_codes(task, theirs)
    counts = np.bincount((true * width + said) * width + also, minlength=labels * width * width)

    def summed(axis: int) -> Callable[[Counts], dict[str, Floats]]:
        def statistic(flat: Counts) -> dict[str, Floats]:
            kinds = flat.reshape(len(flat), labels, width, width)
            return dict(part.statistic(kinds.sum(axis=axis).reshape(len(flat), labels * width)))

        return statistic

    return _Pair(counts, summed(3), summed(2), of_posts=False)


def _gains(pair: _Pair, identity: str, exact: dict[str, float]) -> list[Gain]:
    def difference(weights: Counts) -> dict[str, Floats]:
        ours, theirs = pair.ours(weights), pair.theirs(weights)
        return {name: ours[name] - theirs[name] for name in ours if name in theirs}

    observed = pair.observed[None]
    ours, theirs = pair.ours(observed), pair.theirs(observed)
    draw = (
        resampled_weights(len(pair.observed), identity) if pair.of_posts else resampled_counts(pair.observed, identity)
    )
    found = []
    for name, resampled in resampled_values(draw, difference).items():
        low, high = percentile_interval(resampled)
        value, other = float(ours[name][0]), float(theirs[name][0])
        test: Test = "mcnemar_exact" if name in exact else "paired_bootstrap"
        p_value = exact[name] if name in exact else bootstrap_p(resampled)
        found.append(Gain(name, value, other, value - other, low, high, p_value, test))
    return found


def _exact_tests(task: Task, ours: ReadCell, theirs: ReadCell) -> dict[str, float]:
    """Return the p-values of the metrics that are shares of posts."""
    pairs = {name: (right, _right(task, theirs)[name]) for name, right in _right(task, ours).items()}
    return {name: mcnemar_exact(int((one & ~two).sum()), int((two & ~one).sum())) for name, (one, two) in pairs.items()}


def _right(task: Task, read: ReadCell) -> dict[str, np.ndarray]:
    """Return which posts count for each metric that is a share of posts."""
    right = {"success_rate": [parsed.values is not None for parsed in read.parsed]}
    if task.kind == "classification":
        true, said = label_codes(task, read)
        right["accuracy"] = (true == said).tolist()
    elif task.kind == "tagging":
        references = [{normalise_tag(tag) for tag in reference} for reference in read.rows.reference]
        pairs = zip(read.parsed, references, strict=True)
        right["exact_match"] = [bool(parsed.values) and set(parsed.values or ()) == true for parsed, true in pairs]
    elif task.kind == "ocr":
        texts = zip(read.texts, read.rows.reference, strict=True)
        right["exact_match"] = [
            text is not None and normalise_text(text) in map(normalise_text, references) for text, references in texts
        ]
    return {name: np.asarray(posts, bool) for name, posts in right.items()}
