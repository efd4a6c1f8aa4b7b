"""Word and character error rates against the textbook recurrence."""

import math
from collections.abc import Sequence

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsoc_ray.metrics import character_error_rate, edit_counts, exact_match, normalise_text, word_error_rate


def distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Levenshtein's recurrence."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


TEXTS = st.lists(st.sampled_from(["a", "b", "B", "ﬁ", "fi", "é", "e\u0301", "猫", "!", " ", "\n"])).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.one_of(st.none(), TEXTS)), min_size=1, max_size=6))
def test_rates_follow_the_recurrence(posts: list[tuple[str, str | None]]) -> None:
    true, said = [true for true, _ in posts], [said for _, said in posts]
    pairs = [(normalise_text(a), normalise_text(b)) for a, b in posts]
    words, letters = sum(len(a.split()) for a, _ in pairs), sum(len(a) for a, _ in pairs)
    word_rate = sum(distance(a.split(), b.split()) for a, b in pairs) / words if words else math.nan
    letter_rate = sum(distance(a, b) for a, b in pairs) / letters if letters else math.nan
    assert word_error_rate(true, said) == pytest.approx(word_rate, abs=1e-12, nan_ok=True)
    assert character_error_rate(true, said) == pytest.approx(letter_rate, abs=1e-12, nan_ok=True)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXTS, st.one_of(st.none(), TEXTS)), min_size=1, max_size=6))
def test_exact_matches_are_the_posts_without_an_edit(posts: list[tuple[str, str | None]]) -> None:
    pairs = [(normalise_text(a), None if b is None else normalise_text(b)) for a, b in posts]
    share = sum(b is not None and distance(a, b) == 0 for a, b in pairs) / len(pairs)
    assert exact_match([a for a, _ in posts], [b for _, b in posts]) == pytest.approx(share, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=5))
def test_any_text_scores_as_by_jiwer_over_the_corpus(posts: list[tuple[str, str]]) -> None:
    true, said = ([normalise_text(post[side]) for post in posts] for side in (0, 1))
    if any(text for text in true):
        assert character_error_rate(true, said) == pytest.approx(jiwer.cer(true, said), abs=1e-12)
        assert word_error_rate(true, said) == pytest.approx(jiwer.wer(true, said), abs=1e-12)


def test_an_unparsed_answer_deletes_all_words() -> None:
    assert word_error_rate(["a b", "c d"], [None, "c d"]) == 0.5
    assert word_error_rate(["a b"], [""]) == 1


def test_words_without_reference_are_insertions() -> None:
    assert edit_counts(["", "a"], ["x y", "a"]).tolist() == [[2, 0], [0, 1]]
    assert word_error_rate(["", "a"], ["x y", "a"]) == 2


def test_rate_without_any_word_is_nan() -> None:
    assert math.isnan(word_error_rate([""], [""]))
    assert math.isnan(word_error_rate([], []))
    assert math.isnan(exact_match([], []))


def test_case_width_composition_and_white_space_are_the_same() -> None:
    assert exact_match(["ＣＡＦＥ\u0301  noir"], ["café\nNOIR"]) == 1


def test_punctuation_is_not_the_same() -> None:
    assert exact_match(["cat!"], ["cat"]) == 0


def test_none_never_matches() -> None:
    assert exact_match(["", "a"], [None, "a"]) == 0.5


def test_a_runaway_answer_is_cut_before_it_is_scored() -> None:
    assert edit_counts(["a"], ["b " * 500_000])[0, 0] == 10_000
