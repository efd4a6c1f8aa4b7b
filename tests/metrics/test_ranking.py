"""Ranking and calibration metrics against their definitions."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsoc_ray.metrics import (
    ProbabilityStatistic,
    RankingStatistic,
    auroc,
    average_precision,
    expected_calibration_error,
    log_loss,
)

NAN = float("nan")
POSTS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9, 1.0, NAN]) | st.floats(0, 1)),
    min_size=1,
    max_size=30,
)


def area_by_definition(truth: list[bool], scores: list[float]) -> float:
    known = [0.5 if math.isnan(score) else score for score in scores]
    pairs = [
        (p, n) for p, yes in zip(known, truth, strict=True) if yes for n, no in zip(known, truth, strict=True) if not no
    ]
    return sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs) if pairs else NAN


def precision_by_definition(truth: list[bool], scores: list[float]) -> float:
    known = [0.5 if math.isnan(score) else score for score in scores]
    if not any(truth):
        return NAN
    total, recall = 0.0, 0.0
    for threshold in sorted(set(known), reverse=True):
        chosen = [yes for yes, score in zip(truth, known, strict=True) if score >= threshold]
        total += (sum(chosen) / sum(truth) - recall) * sum(chosen) / len(chosen)
        recall = sum(chosen) / sum(truth)
    return total


@settings(max_examples=150, deadline=None)
@given(POSTS)
def test_ranking_follows_its_definition(posts: list[tuple[bool, float]]) -> None:
    truth, scores = [yes for yes, _ in posts], [score for _, score in posts]
    area, precision = area_by_definition(truth, scores), precision_by_definition(truth, scores)
    assert auroc(truth, scores) == pytest.approx(area, abs=1e-12, nan_ok=True)
    assert average_precision(truth, scores) == pytest.approx(precision, abs=1e-12, nan_ok=True)
    values = RankingStatistic(truth, scores)(np.ones((1, len(posts)), np.int64))
    assert values["auroc"][0] == pytest.approx(area, abs=1e-12, nan_ok=True)
    assert values["average_precision"][0] == pytest.approx(precision, abs=1e-12, nan_ok=True)


@settings(max_examples=100, deadline=None)
@given(POSTS)
def test_the_area_is_mann_whitneys_statistic(posts: list[tuple[bool, float]]) -> None:
    truth, scores = [yes for yes, _ in posts], [0.5 if math.isnan(score) else score for _, score in posts]
    if all(truth) or not any(truth):
        return
    above = [score for score, yes in zip(scores, truth, strict=True) if yes]
    below = [score for score, yes in zip(scores, truth, strict=True) if not yes]
    area = scipy.stats.mannwhitneyu(above, below).statistic / (len(above) * len(below))
    assert auroc(truth, scores) == pytest.approx(area, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(POSTS, st.data())
def test_a_weight_is_as_many_copies_of_a_post(posts: list[tuple[bool, float]], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(posts), max_size=len(posts)))
    copies = [post for post, weight in zip(posts, weights, strict=True) for _ in range(weight)]
    truth, scores = [yes for yes, _ in posts], [score for _, score in posts]
    values = RankingStatistic(truth, scores)(np.asarray([weights, weights]))
    area = area_by_definition([yes for yes, _ in copies], [score for _, score in copies])
    assert values["auroc"] == pytest.approx([area, area], abs=1e-12, nan_ok=True)
    precision = precision_by_definition([yes for yes, _ in copies], [score for _, score in copies])
    assert values["average_precision"] == pytest.approx([precision, precision], abs=1e-12, nan_ok=True)


def test_a_further_chunk_of_another_size_finds_nothing_of_the_last() -> None:
    statistic = RankingStatistic([True, False, True, False], [0.9, 0.8, 0.8, 0.1])
    chunks = [np.asarray([[1, 1, 1, 1], [2, 0, 1, 1]]), np.asarray([[0, 1, 2, 1]]), np.asarray([[1, 1, 1, 1]])]
    together = statistic(np.concatenate(chunks))
    for name in ("auroc", "average_precision"):
        assert np.concatenate([statistic(chunk)[name] for chunk in chunks]).tolist() == together[name].tolist()


def test_one_class_only_has_no_area() -> None:
    assert math.isnan(auroc([True, True], [0.1, 0.9]))
    assert math.isnan(auroc([False, False], [0.1, 0.9]))
    assert average_precision([True, True], [0.1, 0.9]) == 1
    assert math.isnan(average_precision([False, False], [0.1, 0.9]))


def test_no_post_gives_nan() -> None:
    assert math.isnan(auroc([], []))
    assert math.isnan(average_precision([], []))
    assert math.isnan(log_loss([], np.zeros((0, 2)), ("a", "b")))
    assert math.isnan(expected_calibration_error([], np.zeros((0, 2)), ("a", "b")))


def test_all_ties_are_chance() -> None:
    assert auroc([True, False, True], [0.3, 0.3, 0.3]) == 0.5


def test_an_absent_score_counts_as_one_half() -> None:
    assert auroc([True, False, False], [NAN, 0.4, 0.6]) == 0.5


def test_an_infinite_score_is_named() -> None:
    with pytest.raises(ValueError, match=r"y_score\[1\] is inf"):
        auroc([True, False], [0.1, math.inf])


LABELS = ("a", "b", "c")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(LABELS),
        st.one_of(
            st.just((NAN, NAN, NAN)),
            st.just((0.0, 0.0, 0.0)),
            st.just((1.0, 0.0, 0.0)),
            st.tuples(*[st.floats(0, 1)] * 3),
        ),
    ),
    min_size=1,
    max_size=30,
)


def normalised(row: tuple[float, ...]) -> list[float]:
    if any(math.isnan(value) for value in row) or sum(row) == 0:
        return [1 / len(row)] * len(row)
    return [value / sum(row) for value in row]


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_log_loss_and_calibration_follow_their_definitions(rows: list[tuple[str, tuple[float, ...]]]) -> None:
    true, given_rows = [label for label, _ in rows], [row for _, row in rows]
    shares = [normalised(row) for row in given_rows]
    eps = 2.0**-52
    loss = -sum(math.log(max(row[LABELS.index(label)], eps)) for label, row in zip(true, shares, strict=True)) / len(
        rows
    )
    bins: dict[int, list[tuple[bool, float]]] = {}
    for label, row in zip(true, shares, strict=True):
        confidence = max(row)
        at = next(b for b in range(15) if b == 14 or confidence <= (b + 1) / 15)
        bins.setdefault(at, []).append((LABELS[row.index(confidence)] == label, confidence))
    gap = sum(abs(sum(right for right, _ in posts) - sum(sure for _, sure in posts)) for posts in bins.values())
    assert log_loss(true, given_rows, LABELS) == pytest.approx(loss, abs=1e-12)
    assert expected_calibration_error(true, given_rows, LABELS) == pytest.approx(gap / len(rows), abs=1e-12)
    values = ProbabilityStatistic(true, given_rows, LABELS)(np.ones((1, len(rows)), np.int64))
    assert values["log_loss"][0] == pytest.approx(loss, abs=1e-12)
    assert values["ece"][0] == pytest.approx(gap / len(rows), abs=1e-12)


def test_a_certain_right_answer_loses_nothing() -> None:
    assert log_loss(["a"], [(1.0, 0.0)], ("a", "b")) == 0
    assert expected_calibration_error(["a"], [(1.0, 0.0)], ("a", "b")) == 0


def test_probabilities_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(posts, 2\)"):
        log_loss(["a"], [(1.0, 0.0, 0.0)], ("a", "b"))
    with pytest.raises(ValueError, match="at least 0"):
        log_loss(["a"], [(1.5, -0.5)], ("a", "b"))
