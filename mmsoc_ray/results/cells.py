"""Scores of one cell: answers parsed, metrics, intervals. A pure function of the cell's predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmsoc_ray.metrics import (
    CorpusStatistic,
    Counts,
    Encoder,
    Floats,
    MeanStatistic,
    ProbabilityStatistic,
    RankingStatistic,
    RatioStatistic,
    Statistic,
    TagStatistic,
    bertscore_values,
    classification_values,
    divide,
    edit_counts,
    intervals,
    normalise_text,
    resampled_counts,
    resampled_weights,
    rouge_scores,
)
from mmsoc_ray.tasks import TASKS, Parsed, ParsePolicy, Task, TaskKind, normalise_tag

HEADLINE_OF_KIND: Mapping[TaskKind, str] = {
    "classification": "macro_f1",
    "tagging": "sample_f1",
    "ocr": "word_error_rate",
    "free_text": "rouge_l",
}

HEADLINE: Mapping[str, str] = {name: HEADLINE_OF_KIND[task.kind] for name, task in TASKS.items()}
"""Task to the metric that the compact table shows."""

LOWER_IS_BETTER = frozenset(
    (
        *("log_loss", "ece", "hamming_loss", "word_error_rate", "character_error_rate"),
        *("refusal_rate", "output_tokens_mean", "drift"),
    )
)


def higher_is_better(metric: str) -> bool:
    """Whether a greater value of the metric is the better one; mean output length counts as a cost.

    ``macro_f1@round_2``, the metric of one round of self-improvement, goes by its metric.
    """
    return metric.partition("@")[0] not in LOWER_IS_BETTER


@dataclass(frozen=True)
class CellRows:
    """The predictions of one cell as parallel sequences, in any order.

    Attributes:
        post_key: Identity of each post, each once.
        output: What the model said; None where the request failed.
        error: Why it failed, or None.
        reference: The references of each post: one label, all tags, or one or more texts.
        output_tokens: Generated tokens, or None.
        label_scores: Probability of each label, or None for a post that was not scored; None where none was.
        score: Score of the positive label, or None for a post that was not scored; None where none was.
    """

    post_key: Sequence[str]
    output: Sequence[str | None]
    error: Sequence[str | None]
    reference: Sequence[Sequence[str]]
    output_tokens: Sequence[int | None]
    label_scores: Sequence[Mapping[str, float] | None] | None = None
    score: Sequence[float | None] | None = None


@dataclass(frozen=True)
class MetricValue:
    """One metric of a cell with its interval at 95 %; NaN where undefined."""

    name: str
    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class CellScores:
    """What a cell came to.

    Attributes:
        n: Posts of the cell.
        n_failed: Posts whose request failed.
        n_unparsed: Posts whose answer the parser could not read, failed ones not among them.
        metrics: Every metric of the task that the cell gives, in the task's order.
    """

    n: int
    n_failed: int
    n_unparsed: int
    metrics: tuple[MetricValue, ...]


@dataclass(frozen=True)
class ReadCell:
    """A cell's rows in the order of their post keys, with the answers parsed; a failed request is parsed as None."""

    rows: CellRows
    parsed: Sequence[Parsed]
    failed: Sequence[bool]

    @property
    def texts(self) -> list[str | None]:
        """What the parser read; None where it read nothing."""
        return [parsed.value for parsed in self.parsed]


@dataclass(frozen=True)
class Part:
    """Metrics that are computed together, and resampled together.

    Attributes:
        observed: How often each post (always once), or each kind of post, stands in the cell.
        statistic: The metrics of such counts.
        of_posts: Whether posts are counted rather than kinds of posts.
    """

    observed: Counts
    statistic: Statistic
    of_posts: bool


def score_cell(
    task: Task,
    rows: CellRows,
    *,
    identity: str,
    policy: ParsePolicy = "lenient",
    bertscore: Encoder | None = None,
) -> CellScores:
    """Parse the answers of a cell and return its metrics with percentile bootstrap intervals.

    Classification: an unparsed or failed answer is wrong, and no false positive of any class. Tagging: the empty set.
    OCR: the empty string; of several references the one with the fewest word edits counts. Free text: 0 for ROUGE, the
    empty text for BLEU and chrF; of several references the best one counts, for each ROUGE apart (BLEU uses all of them
    together). AUROC, average precision, log loss and calibration error stand only where posts were scored; among those,
    a post without a score counts as knowing nothing. ``output_tokens_mean`` is over answered requests.

    The result depends on the rows and the identity only, not on the rows' order.

    Args:
        task: The task.
        rows: The cell's predictions.
        identity: Names the cell; seeds the bootstrap.
        policy: How tolerantly answers are read.
        bertscore: Encoder with which free text has ``bertscore_f1`` too; unparsed and failed answers have 0 there.

    Raises:
        ValueError: The sequences are not parallel, a post stands twice, or a reference is absent or outside the task's
            labels; the message names the post and the value.
    """
    read = read_cell(task, rows, policy)
    found: dict[str, MetricValue] = {}
    for name, part in {**parts_of(task, read, bertscore), "tokens": _tokens(read)}.items():
        found.update(_with_intervals(part, f"{identity}|{name}"))
    return CellScores(
        n=len(read.parsed),
        n_failed=sum(read.failed),
        n_unparsed=sum(parsed.values is None for parsed in read.parsed) - sum(read.failed),
        metrics=tuple(found[name] for name in task.metrics if name in found),
    )


def parts_of(task: Task, read: ReadCell, bertscore: Encoder | None = None) -> dict[str, Part]:
    """Return what a cell's metrics are computed from, but for the length of its answers."""
    if task.kind == "classification":
        return {"labels": _labels(task, read), **_scored(task, read)}
    if task.kind == "tagging":
        return _tagging(task, read)
    return _ocr(read) if task.kind == "ocr" else _free_text(read, bertscore)


def read_cell(task: Task, rows: CellRows, policy: ParsePolicy) -> ReadCell:
    """Parse a cell's answers, in the order of its post keys.

    Raises:
        ValueError: As ``score_cell``.
    """
    columns = (
        rows.post_key,
        rows.output,
        rows.error,
        rows.reference,
        rows.output_tokens,
        rows.label_scores,
        rows.score,
    )
    lengths = {len(column) for column in columns if column is not None}
    if len(lengths) > 1:
        raise ValueError(f"the columns of a cell of task {task.name!r} have the lengths {sorted(lengths)}")
    order = sorted(range(len(rows.post_key)), key=rows.post_key.__getitem__)
    for before, after in pairwise(order):
        if rows.post_key[before] == rows.post_key[after]:
            raise ValueError(f"post {rows.post_key[after]!r} stands twice in a cell of task {task.name!r}")
    for at in order:
        _check_reference(task, rows.post_key[at], rows.reference[at])
    failed = [rows.error[at] is not None or rows.output[at] is None for at in order]
    # Models repeat themselves: each distinct answer is parsed once.
    known = {output: task.parse(output, policy) for output in set(rows.output) if output is not None}
    lost = Parsed(None, rule="failed")
    parsed = [lost if gone else known[rows.output[at] or ""] for at, gone in zip(order, failed, strict=True)]
    ordered = CellRows(
        post_key=[rows.post_key[at] for at in order],
        output=[rows.output[at] for at in order],
        error=[rows.error[at] for at in order],
        reference=[rows.reference[at] for at in order],
        output_tokens=[rows.output_tokens[at] for at in order],
        label_scores=None if rows.label_scores is None else [rows.label_scores[at] for at in order],
        score=None if rows.score is None else [rows.score[at] for at in order],
    )
    return ReadCell(ordered, parsed, failed)


def _check_reference(task: Task, post_key: str, reference: Sequence[str]) -> None:
    if not reference:
        raise ValueError(f"post {post_key!r} has no reference for task {task.name!r}; give its targets one")
    if task.kind != "classification":
        return
    if len(reference) != 1 or reference[0] not in task.labels:
        raise ValueError(
            f"post {post_key!r} has the reference {list(reference)} for task {task.name!r}; "
            f"it must be one of the labels {', '.join(task.labels)}"
        )


def _with_intervals(part: Part, identity: str) -> dict[str, MetricValue]:
    values = part.statistic(part.observed[None])
    if part.of_posts:
        chunks = resampled_weights(len(part.observed), identity)
    else:
        chunks = resampled_counts(part.observed, identity)
    bounds = intervals(chunks, part.statistic)
    return {name: MetricValue(name, float(value[0]), *bounds[name]) for name, value in values.items()}


def _of_posts(read: ReadCell, *statistics: Statistic) -> Part:
    """Return metrics that are computed from the same resamples of posts, drawn once."""

    def together(weights: Counts) -> dict[str, Floats]:
        return {name: values for statistic in statistics for name, values in statistic(weights).items()}

    return Part(np.ones(len(read.parsed), np.int64), together, of_posts=True)


def _rates(read: ReadCell) -> MeanStatistic:
    return MeanStatistic(
        {
            "success_rate": [parsed.values is not None for parsed in read.parsed],
            "refusal_rate": [parsed.refused for parsed in read.parsed],
        }
    )


def _tokens(read: ReadCell) -> Part:
    """Mean output length, from how often each length occurs: lengths are few, posts may be many."""
    pairs = zip(read.rows.output_tokens, read.failed, strict=True)
    answered = [count for count, failed in pairs if count is not None and not failed]
    lengths, counts = np.unique(np.asarray(answered, np.int64), return_counts=True)
    return Part(counts, MeanStatistic({"output_tokens_mean": lengths}), of_posts=False)


def label_codes(task: Task, read: ReadCell) -> tuple[Counts, Counts]:
    """Return each post's true label and what was said, as numbers: a label, unparsed or failed, refused."""
    labels = len(task.labels)
    code = {label: at for at, label in enumerate(task.labels)}
    true = np.asarray([code[reference[0]] for reference in read.rows.reference], np.int64)
    said = [code[parsed.value] if parsed.value is not None else labels + int(parsed.refused) for parsed in read.parsed]
    return true, np.asarray(said, np.int64)


def _labels(task: Task, read: ReadCell) -> Part:
    """Metrics from the counts of true label by predicted label, unparsed or failed, refused."""
    labels, (true, said) = len(task.labels), label_codes(task, read)
    width = labels + 2
    counts = np.bincount(true * width + said, minlength=labels * width)

    def statistic(flat: Counts) -> dict[str, Floats]:
        matrices = flat.reshape(-1, labels, width)
        without, refused = matrices[..., labels:].sum(axis=(1, 2)), matrices[..., labels + 1].sum(axis=1)
        posts = flat.sum(axis=1)
        return {
            **classification_values(matrices, task.labels),
            "success_rate": divide(posts - without, posts, np.nan),
            "refusal_rate": divide(refused, posts, np.nan),
        }

    return Part(counts, statistic, of_posts=False)


def _scored(task: Task, read: ReadCell) -> dict[str, Part]:
    """Metrics of probabilities, where the run scored labels."""
    statistics: list[Statistic] = []
    scores = np.asarray([math.nan if score is None else score for score in read.rows.score or ()], np.float64)
    # By falling score, so that no resample of a large cell has to be gathered into that order.
    order = np.argsort(-scores, kind="stable").tolist() if len(scores) else range(len(read.parsed))
    true = [read.rows.reference[at][0] for at in order]
    if any(read.rows.label_scores or ()):
        of_labels = [(read.rows.label_scores or ())[at] or {} for at in order]
        matrix = [[of_post.get(label, math.nan) for label in task.labels] for of_post in of_labels]
        statistics.append(ProbabilityStatistic(true, matrix, task.labels))
    if task.positive is not None and not np.isnan(scores).all():
        positive = [label == task.positive for label in true]
        statistics.append(RankingStatistic(positive, scores[list(order)]))
    return {"scores": _of_posts(read, *statistics)} if statistics else {}


def _tagging(task: Task, read: ReadCell) -> dict[str, Part]:
    references = [{normalise_tag(tag) for tag in reference} for reference in read.rows.reference]
    # Whoever asks the built-in task about tags of their own is not scored over MM-Soc's.
    usual = {normalise_tag(tag) for tag in task.vocabulary}
    fits = all(reference <= usual for reference in references)
    vocabulary = {normalise_tag(tag) for tag in task.labels} or (usual if fits else None)
    statistic = TagStatistic(references, [parsed.values for parsed in read.parsed], vocabulary)
    return {"posts": _of_posts(read, statistic, _rates(read))}


def _ocr(read: ReadCell) -> dict[str, Part]:
    best = [_nearest(reference, text) for reference, text in zip(read.rows.reference, read.texts, strict=True)]
    pairs = zip(best, read.texts, strict=True)
    same = [text is not None and normalise_text(text) == normalise_text(true) for true, text in pairs]
    edits = {
        "word_error_rate": edit_counts(best, read.texts),
        "character_error_rate": edit_counts(best, read.texts, characters=True),
    }
    overlap = MeanStatistic({"exact_match": same, **rouge_scores(read.texts, best, ("rouge_l",))})
    return {"posts": _of_posts(read, RatioStatistic(edits), overlap, _rates(read))}


def _nearest(references: Sequence[str], text: str | None) -> str:
    """Return the reference with the smallest share of word edits (the first of equal ones)."""
    if len(references) == 1:
        return references[0]
    edits, words = edit_counts(list(references), [text] * len(references)).T
    return references[int(np.argmin(divide(edits, words, math.inf)))]


def _free_text(read: ReadCell, encoder: Encoder | None) -> dict[str, Part]:
    references = read.rows.reference
    of_posts: dict[str, Floats] = rouge_scores(read.texts, references)
    if encoder is not None:
        of_posts["bertscore_f1"] = bertscore_values(read.texts, references, encoder)
    statistics = (MeanStatistic(of_posts), CorpusStatistic(read.texts, references), _rates(read))
    return {"posts": _of_posts(read, *statistics)}
