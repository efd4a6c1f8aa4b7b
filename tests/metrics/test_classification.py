"""Classification metrics against their definitions, counted one by one."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsoc_ray.metrics import (
    accuracy,
    balanced_accuracy,
    classification_values,
    confusion_counts,
    macro_f1,
    macro_precision,
    macro_recall,
    mcc,
    micro_f1,
    micro_precision,
    micro_recall,
    per_class_scores,
    weighted_f1,
    weighted_precision,
    weighted_recall,
)

LABELS = ("a", "b", "c")


def by_definition(true: Sequence[str], said: Sequence[str | None], labels: Sequence[str]) -> dict[str, float]:
    """Every metric from its definition, by loops over the posts."""
    pairs = list(zip(true, said, strict=True))
    f1, precision, recall = {}, {}, {}
    for label in labels:
        hit = sum(t == label == p for t, p in pairs)
        false = sum(p == label != t for t, p in pairs)
        miss = sum(t == label != p for t, p in pairs)
        precision[label] = hit / (hit + false) if hit + false else 0.0
        recall[label] = hit / (hit + miss) if hit + miss else 0.0
        f1[label] = 2 * hit / (2 * hit + false + miss) if hit + false + miss else 0.0
    hits = sum(t == p for t, p in pairs)
    false = sum(p is not None and t != p for t, p in pairs)
    misses = sum(t != p for t, p in pairs)
    present = sorted(set(true))
    pooled_precision, support = hits / (hits + false) if hits + false else 0.0, [true.count(label) for label in labels]
    values = {
        "macro_precision": sum(precision.values()) / len(labels),
        "macro_recall": sum(recall.values()) / len(labels),
        "micro_precision": pooled_precision,
        "micro_recall": hits / (hits + misses),
        "weighted_precision": sum(precision[t] for t in true) / len(true),
        "weighted_recall": sum(n * recall[label] for n, label in zip(support, labels, strict=True)) / sum(support),
        "accuracy": hits / len(pairs),
        "balanced_accuracy": sum(recall[label] for label in present) / len(present),
        "macro_f1": sum(f1.values()) / len(labels),
        "micro_f1": 2 * hits / (2 * hits + false + misses),
        "weighted_f1": sum(f1[t] for t in true) / len(true),
        "mcc": _correlation(pairs, [*labels, None]),
    }
    for label in labels:
        values |= {f"f1_{label}": f1[label], f"precision_{label}": precision[label], f"recall_{label}": recall[label]}
    return values


def _correlation(pairs: list[tuple[str, str | None]], classes: Sequence[str | None]) -> float:
    """R_K as the correlation of the indicator vectors of truth and prediction, summed over classes."""
    size = len(pairs)

    def covariance(first: int, second: int) -> float:
        total = 0.0
        for label in classes:
            x = [pair[first] == label for pair in pairs]
            y = [pair[second] == label for pair in pairs]
            total += sum(a and b for a, b in zip(x, y, strict=True)) / size - sum(x) / size * sum(y) / size
        return total

    spread = covariance(0, 0) * covariance(1, 1)
    return covariance(0, 1) / math.sqrt(spread) if spread > 1e-15 else 0.0


def by_functions(true: Sequence[str], said: Sequence[str | None], labels: Sequence[str]) -> dict[str, float]:
    values = {
        "macro_precision": macro_precision(true, said, labels),
        "macro_recall": macro_recall(true, said, labels),
        "micro_precision": micro_precision(true, said, labels),
        "micro_recall": micro_recall(true, said, labels),
        "weighted_precision": weighted_precision(true, said, labels),
        "weighted_recall": weighted_recall(true, said, labels),
        "accuracy": accuracy(true, said, labels),
        "balanced_accuracy": balanced_accuracy(true, said, labels),
        "macro_f1": macro_f1(true, said, labels),
        "micro_f1": micro_f1(true, said, labels),
        "weighted_f1": weighted_f1(true, said, labels),
        "mcc": mcc(true, said, labels),
    }
    for label, scores in per_class_scores(true, said, labels).items():
        values |= {f"f1_{label}": scores.f1, f"precision_{label}": scores.precision, f"recall_{label}": scores.recall}
    return values


def by_counts(true: Sequence[str], said: Sequence[str | None], labels: Sequence[str]) -> dict[str, float]:
    counts = confusion_counts(true, said, labels)
    return {name: float(value) for name, value in classification_values(counts, labels).items()}


def assert_same(true: Sequence[str], said: Sequence[str | None], labels: Sequence[str] = LABELS) -> None:
    expected = by_definition(true, said, labels)
    assert by_functions(true, said, labels) == pytest.approx(expected, abs=1e-12)
    assert by_counts(true, said, labels) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None])), min_size=1, max_size=40),
)
def test_metrics_follow_their_definitions(pairs: list[tuple[str, str | None]]) -> None:
    assert_same([true for true, _ in pairs], [said for _, said in pairs])


@pytest.mark.parametrize(
    ("true", "said"),
    [
        (["a"] * 5, ["a"] * 5),
        (["a"] * 5, ["b"] * 5),
        (["a", "b", "c"], [None] * 3),
        (["a"], [None]),
        (["a", "b"], ["b", "a"]),
        (["a", "a", "b"], ["a", None, None]),
    ],
    ids=["one class, right", "one class, wrong", "all unparsed", "one post", "all swapped", "some unparsed"],
)
def test_adversarial_cases_follow_the_definitions(true: list[str], said: list[str | None]) -> None:
    assert_same(true, said)


def test_a_large_sample_follows_the_definitions() -> None:
    random.seed(1)
    assert_same(random.choices(LABELS, [8, 1, 1], k=5_000), random.choices([*LABELS, None], [5, 1, 1, 3], k=5_000))


def test_unparsed_answers_are_no_false_positives() -> None:
    scores = per_class_scores(["a", "b", "b"], ["a", None, None], ("a", "b"))
    assert (scores["a"].precision, scores["a"].f1, scores["b"].recall) == (1, 1, 0)


def test_a_declared_label_that_never_occurs_counts_as_zero_in_macro_f1() -> None:
    assert macro_f1(["a", "a"], ["a", "a"], ("a", "b")) == 0.5


def test_a_prediction_outside_the_labels_is_no_prediction() -> None:
    assert by_functions(["a", "b"], ["a", "z"], LABELS) == by_functions(["a", "b"], ["a", None], LABELS)


def test_labels_in_unicode_are_labels() -> None:
    assert_same(["ß", "é", "é"], ["ß", "é", None], ("ß", "é"))


def test_no_post_gives_nan() -> None:
    assert all(math.isnan(value) for value in by_functions([], [], LABELS).values())
    assert all(math.isnan(value) for value in by_counts([], [], LABELS).values())


def test_a_true_label_that_is_not_declared_is_an_error() -> None:
    with pytest.raises(ValueError, match="'z', which is not one of the labels"):
        accuracy(["z"], ["a"], LABELS)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="y_true has 2 values, y_pred has 1"):
        accuracy(["a", "b"], ["a"])


def test_many_matrices_at_once_are_the_same_as_one_by_one() -> None:
    counts = np.random.default_rng(0).integers(0, 9, size=(20, 3, 5))
    counts[3] = 0
    together = classification_values(counts, LABELS)
    for name, values in together.items():
        single = [float(classification_values(matrix, LABELS)[name]) for matrix in counts]
        np.testing.assert_array_equal(values, single)
