"""ROUGE against its definition."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from mmsoc_ray.metrics import rouge_1, rouge_2, rouge_l, rouge_scores


def f_measure(common: int, said: int, true: int) -> float:
    return 2 * common / (said + true) if common else 0.0


def by_definition(said: str | None, true: str) -> tuple[float, float, float]:
    if said is None:
        return 0.0, 0.0, 0.0
    first, second = (re.findall(r"[a-zäß0-9]+", text.casefold()) for text in (said, true))

    def grams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
        return Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))

    def overlap(size: int) -> float:
        a, b = grams(first, size), grams(second, size)
        return f_measure(sum((a & b).values()), sum(a.values()), sum(b.values()))

    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return overlap(1), overlap(2), f_measure(table[-1][-1], len(first), len(second))


TEXTS = st.lists(st.sampled_from(["a", "B", "cat", "Cat!", "the", "täter", ".", "1"])).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), TEXTS), TEXTS), min_size=1, max_size=5))
def test_rouge_follows_its_definition(posts: list[tuple[str | None, str]]) -> None:
    said, true = [said for said, _ in posts], [true for _, true in posts]
    expected = [sum(column) / len(posts) for column in zip(*(by_definition(*post) for post in posts), strict=True)]
    assert [rouge_1(said, true), rouge_2(said, true), rouge_l(said, true)] == pytest.approx(expected, abs=1e-12)


def test_ascii_texts_score_as_by_the_library_alone() -> None:
    said, true = "The quick brown fox; it's 3 p.m.", "a brown fox, the quick one: it is 3 PM"
    plain = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"]).score(true, said)
    scores = rouge_scores([said], [true])
    assert [scores[name][0] for name in ("rouge_1", "rouge_2", "rouge_l")] == [
        plain[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")
    ]


def test_other_scripts_score_too() -> None:
    assert rouge_l(["кошка спит"], ["Кошка спит!"]) == 1
    assert rouge_1(["猫が寝る"], ["猫が走る"]) == pytest.approx(0.75)


def test_the_best_reference_counts() -> None:
    assert rouge_1(["a cat"], [["dogs run", "a cat"]]) == 1


def test_unparsed_and_empty_texts_have_zero() -> None:
    assert rouge_l([None, "", "a"], ["a", "a", ""]) == 0


def test_no_post_gives_nan() -> None:
    assert math.isnan(rouge_l([], []))


def test_a_runaway_answer_scores_exactly() -> None:
    """Two texts of 10,000 words, of which every third is common in order: the library's own Python takes minutes."""
    true = " ".join("abc"[at % 3] for at in range(10_000))
    said = " ".join("axy"[at % 3] for at in range(10_000))
    common = sum(at % 3 == 0 for at in range(10_000))
    assert rouge_l([said], [true]) == pytest.approx(common / 10_000, abs=1e-12)
