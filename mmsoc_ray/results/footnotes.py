"""The lines beneath a results table: what its numbers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmsoc_ray.results.escape import printable
from mmsoc_ray.results.overview import Overview

METRIC_MEANINGS = {
    "accuracy": "share of posts answered with the true label",
    "balanced_accuracy": "mean recall over the labels",
    "macro_f1": "unweighted mean of the labels' F1",
    "weighted_f1": "mean of the labels' F1, weighted by their posts",
    "micro_f1": "F1 over all decisions pooled",
    "macro_precision": "unweighted mean of the labels' precision",
    "weighted_precision": "mean of the labels' precision, weighted by their posts",
    "micro_precision": "share of the answers with a label that are right",
    "macro_recall": "unweighted mean of the labels' recall",
    "weighted_recall": "mean of the labels' recall, weighted by their posts",
    "micro_recall": "share of posts answered with the true label",
    "mcc": "correlation between the labels given and the true ones (Matthews)",
    "auroc": "how often a post of the positive label is scored above another one",
    "average_precision": "precision at every score, weighted by the recall that it adds",
    "log_loss": "minus the logarithm of the true label's probability, mean over posts",
    "ece": "gap between accuracy and confidence, over bins of confidence",
    "sample_f1": "F1 between the tags given and the true ones, mean over posts",
    "jaccard": "overlap between the tags given and the true ones, mean over posts",
    "hamming_loss": "share of wrong decisions over posts and tags",
    "exact_match": "share of posts answered exactly",
    "word_error_rate": "words to insert, delete or replace per word of the reference; may exceed 1",
    "character_error_rate": "characters to insert, delete or replace per character of the reference; may exceed 1",
    "bleu": "precision of one to four words over the whole cell, with a penalty for brevity",
    "chrf": "F2 of one to six characters over the whole cell",
    "rouge_1": "F1 of the words shared with the reference, mean over posts",
    "rouge_2": "F1 of the word pairs shared with the reference, mean over posts",
    "rouge_l": "F1 of the longest common subsequence with the reference, mean over posts",
    "bertscore_f1": "F1 of the likeness of tokens to those of the reference, by an encoder, mean over posts",
    "success_rate": "share of posts whose answer could be read",
    "refusal_rate": "share of posts that the model declined to answer",
    "output_tokens_mean": "tokens of an answer, mean over the answered requests",
}
"""One line for each metric; those of one label (``f1_<label>`` and so on) follow from their names."""


OF_ROUNDS = (
    "self_improve_<k>: scores of the last of k rounds; the results file has <metric>@round_<r> for every round and "
    "drift@round_<r>, how far the answers have moved away from the reference since round 0."
)


def footnotes(overview: Overview, notes: Sequence[str] = ()) -> list[str]:
    """Return the lines beneath the table: metrics, interval and marks, then the caller's notes."""
    lines = [*_metrics(overview), _marks(overview)]
    if any(line.setting.startswith("self_improve_") for line in overview.lines):
        lines.append(OF_ROUNDS)
    return [*lines, *(printable(note) for note in notes)]


READ_LENIENTLY = "Answers are read leniently: a label also counts inside a sentence, as a synonym, or as a yes or no"
READ_STRICTLY = "only an answer in exactly the form that the prompt asks for counts"


def policy_notes(policies: Mapping[str, str]) -> list[str]:
    """Return the line that says how the answers were read.

    Args:
        policies: Task to ``strict`` or ``lenient``; empty where the run did not record it.
    """
    strict = sorted(task for task, policy in policies.items() if policy == "strict")
    if not policies:
        return []
    if len(strict) == len(policies):
        return [f"Answers are read strictly: {READ_STRICTLY}."]
    return [
        f"{READ_LENIENTLY}; strictly, {READ_STRICTLY}, for {', '.join(strict)}." if strict else f"{READ_LENIENTLY}."
    ]


def _metrics(overview: Overview) -> list[str]:
    lines = []
    for metric in dict.fromkeys(column.metric for column in overview.columns):
        lower = any(column.lower_is_better for column in overview.columns if column.metric == metric)
        meaning = METRIC_MEANINGS.get(metric, "")
        text = (
            f"{metric}{' ↓' if lower else ''}{': ' if meaning else ''}{meaning}{'; lower is better' if lower else ''}"
        )
        lines.append(f"{printable(text)}.")
    return lines


def _marks(overview: Overview) -> str:
    cells = overview.cells.values()
    splits = sorted({printable(column.split) for column in overview.columns})
    parts = [
        f"(n): posts of the split {splits[0]}" if len(splits) == 1 else "(n): posts",
        "[low, high]: interval at 95 %",
        "ok: share of posts whose answer could be read, the others count as wrong or empty",
    ]
    if any(cell.best for cell in cells):
        parts.append("bold: best of its column")
    if any(cell.n_failed for cell in cells):
        parts.append("failed: requests that ended in an error")
    if any(cell.incomplete for cell in cells):
        parts.append("incomplete: predictions there / expected, not scored")
    if len(overview.cells) < len(overview.lines) * len(overview.columns):
        parts.append("·: not in the grid")
    return "; ".join(parts) + "."
