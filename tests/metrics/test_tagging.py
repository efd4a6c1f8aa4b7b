"""Tagging metrics against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mmsoc_ray.metrics import (
    TagStatistic,
    hamming_loss,
    jaccard,
    sample_f1,
    tag_exact_match,
    tag_macro_f1,
    tag_micro_f1,
)

TAGS = ["sports", "tennis", "音楽", "news", "x"]
SETS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(TAGS[:4])),
        st.one_of(st.none(), st.sets(st.sampled_from(TAGS))),
    ),
    min_size=1,
    max_size=15,
)


def by_definition(posts: list[tuple[set[str], set[str] | None]]) -> dict[str, float]:
    known = sorted(set().union(*(true for true, _ in posts)))
    pairs = [(true, said or set()) for true, said in posts]

    def f1(hits: int, false: int, misses: int) -> float:
        return 2 * hits / (2 * hits + false + misses) if hits + false + misses else 0.0

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else math.nan

    of_tags = [
        f1(
            sum(tag in true and tag in said for true, said in pairs),
            sum(tag not in true and tag in said for true, said in pairs),
            sum(tag in true and tag not in said for true, said in pairs),
        )
        for tag in known
    ]
    return {
        "sample_f1": mean([f1(len(true & said), len(said - true), len(true - said)) for true, said in pairs]),
        "jaccard": mean([len(true & said) / len(true | said) if true | said else 0.0 for true, said in pairs]),
        "exact_match": mean([float(bool(true) and true == said) for true, said in pairs]),
        "micro_f1": f1(
            sum(len(true & said) for true, said in pairs),
            sum(len(said - true) for true, said in pairs),
            sum(len(true - said) for true, said in pairs),
        ),
        "macro_f1": mean(of_tags),
        "hamming_loss": mean([float((tag in true) != (tag in said)) for true, said in pairs for tag in known]),
    }


@settings(max_examples=150, deadline=None)
@given(SETS)
def test_metrics_follow_their_definitions(posts: list[tuple[set[str], set[str] | None]]) -> None:
    references, predictions = [true for true, _ in posts], [said for _, said in posts]
    values = {
        "sample_f1": sample_f1(references, predictions),
        "jaccard": jaccard(references, predictions),
        "exact_match": tag_exact_match(references, predictions),
        "micro_f1": tag_micro_f1(references, predictions),
        "macro_f1": tag_macro_f1(references, predictions),
        "hamming_loss": hamming_loss(references, predictions),
    }
    assert values == pytest.approx(by_definition(posts), abs=1e-12, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(SETS)
def test_metrics_agree_with_scikit_learn(posts: list[tuple[set[str], set[str] | None]]) -> None:
    tags = sorted(TAGS)
    true, said = (np.asarray([[tag in (post[side] or ()) for tag in tags] for post in posts]) for side in (0, 1))
    references, predictions = [true for true, _ in posts], [said for _, said in posts]
    f1 = {name: sk.f1_score(true, said, average=name, zero_division=0) for name in ("samples", "micro", "macro")}
    assert sample_f1(references, predictions) == pytest.approx(f1["samples"], abs=1e-12)
    assert tag_micro_f1(references, predictions) == pytest.approx(f1["micro"], abs=1e-12)
    assert tag_macro_f1(references, predictions, tags) == pytest.approx(f1["macro"], abs=1e-12)
    assert hamming_loss(references, predictions, tags) == pytest.approx(sk.hamming_loss(true, said), abs=1e-12)
    overlap = sk.jaccard_score(true, said, average="samples", zero_division=0)
    assert jaccard(references, predictions) == pytest.approx(overlap, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(SETS, st.data())
def test_a_weight_is_as_many_copies_of_a_post(
    posts: list[tuple[set[str], set[str] | None]], data: st.DataObject
) -> None:
    weights = data.draw(st.lists(st.integers(1, 3), min_size=len(posts), max_size=len(posts)))
    copies = [post for post, weight in zip(posts, weights, strict=True) for _ in range(weight)]
    statistic = TagStatistic([true for true, _ in posts], [said for _, said in posts])
    weighted = {name: float(value[1]) for name, value in statistic(np.asarray([[1] * len(posts), weights])).items()}
    assert weighted == pytest.approx(by_definition(copies), abs=1e-12, nan_ok=True)


def test_all_unparsed_is_zero_and_every_true_tag_wrong() -> None:
    assert sample_f1([{"a", "b"}], [None]) == jaccard([{"a", "b"}], [None]) == tag_macro_f1([{"a", "b"}], [None]) == 0
    assert hamming_loss([{"a", "b"}], [None]) == 1


def test_an_empty_prediction_is_never_right() -> None:
    assert sample_f1([set()], [set()]) == tag_exact_match([set()], [None]) == 0


def test_a_tag_outside_the_vocabulary_costs_precision() -> None:
    assert tag_micro_f1([{"a"}], [{"a", "zzz"}]) == pytest.approx(2 / 3)
    assert hamming_loss([{"a"}], [{"a", "zzz"}]) == 0


def test_a_declared_vocabulary_counts_in_full() -> None:
    assert tag_macro_f1([{"a"}], [{"a"}], {"a", "b"}) == 0.5
    assert hamming_loss([{"a"}], [None], {"a", "b", "c", "d"}) == 0.25


def test_no_post_gives_nan() -> None:
    assert math.isnan(sample_f1([], []))
    assert math.isnan(tag_micro_f1([], []))
