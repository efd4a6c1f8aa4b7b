"""BLEU and chrF against their definitions, and against sacrebleu asked for the whole corpus."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from mmsoc_ray.metrics import CorpusStatistic, bleu, chrf

Post = tuple[str | None, list[str]]
WORDS = st.lists(st.sampled_from(["a", "A", "cat", "sat", "the", "on", "猫", "é"]), max_size=9).map(" ".join)
POSTS = st.lists(st.tuples(st.none() | WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=5)
ANY_TEXT = st.text(max_size=30)


def grams(units: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(units[at : at + size]) for at in range(len(units) - size + 1))


def bleu_by_definition(posts: list[Post]) -> float:
    said_length = true_length = 0
    hits, given = [0] * 4, [0] * 4
    for said, references in posts:
        words, truths = (said or "").split(), [reference.split() for reference in references]
        said_length += len(words)
        true_length += min((abs(len(truth) - len(words)), len(truth)) for truth in truths)[1]
        for size in range(1, 5):
            allowed: Counter[tuple[str, ...]] = Counter()
            for truth in truths:
                allowed |= grams(truth, size)
            own = grams(words, size)
            hits[size - 1] += sum((own & allowed).values())
            given[size - 1] += sum(own.values())
    if not any(hits):
        return 0.0
    logs, halvings = 0.0, 1.0
    for hit, total in zip(hits, given, strict=True):
        if total == 0:
            return 0.0  # no such sequence at all: its precision is 0, and so is the mean
        if hit == 0:
            halvings *= 2
        logs += math.log(hit / total if hit else 1 / (halvings * total))
    brevity = min(1.0, math.exp(1 - true_length / said_length))
    return brevity * math.exp(logs / 4)


def chrf_of_counts(counts: list[tuple[int, int, int]]) -> float:
    both = [(hit / said, hit / true) for said, true, hit in counts if said and true]
    if not both:
        return 0.0
    precision, recall = (sum(values) / len(both) for values in zip(*both, strict=True))
    return 5 * precision * recall / (4 * precision + recall) if precision + recall else 0.0


def chrf_by_definition(posts: list[Post]) -> float:
    sums = np.zeros((6, 3), int)
    for said, references in posts:
        letters = "".join((said or "").split())
        options = []
        for reference in references:
            truth = "".join(reference.split())
            counts = []
            for size in range(1, 7):
                own, true = grams(letters, size), grams(truth, size)
                # Sequences longer than the whole reference are not held against the answer.
                counts.append((sum(own.values()) if true else 0, sum(true.values()), sum((own & true).values())))
            options.append(counts)
        sums += np.asarray(max(options, key=chrf_of_counts))
    return chrf_of_counts([tuple(row) for row in sums.tolist()])


def split(posts: list[Post]) -> tuple[list[str | None], list[list[str]]]:
    return [said for said, _ in posts], [references for _, references in posts]


@given(POSTS)
def test_bleu_follows_its_definition(posts: list[Post]) -> None:
    assert bleu(*split(posts)) == pytest.approx(bleu_by_definition(posts), abs=1e-12)


@given(POSTS)
def test_chrf_follows_its_definition(posts: list[Post]) -> None:
    assert chrf(*split(posts)) == pytest.approx(chrf_by_definition(posts), abs=1e-12)


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=6))
def test_any_text_scores_as_by_sacrebleu_over_the_corpus(posts: list[tuple[str, str]]) -> None:
    said, true = [said for said, _ in posts], [true for _, true in posts]
    assert bleu(said, true) == pytest.approx(BLEU().corpus_score(said, [true]).score / 100, abs=1e-12)
    assert chrf(said, true) == pytest.approx(CHRF().corpus_score(said, [true]).score / 100, abs=1e-12)


@given(POSTS, st.data())
def test_a_weight_is_as_many_copies_of_a_post(posts: list[Post], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(posts), max_size=len(posts)))
    copies = [post for post, weight in zip(posts, weights, strict=True) for _ in range(weight)]
    values = CorpusStatistic(*split(posts))(np.asarray([weights, [1] * len(posts)]))
    assert values["bleu"][0] == pytest.approx(bleu(*split(copies)), abs=1e-12, nan_ok=True)
    assert values["chrf"][0] == pytest.approx(chrf(*split(copies)), abs=1e-12, nan_ok=True)


def test_the_same_texts_have_one() -> None:
    text = "The quick brown fox jumps."
    assert bleu([text], [text]) == pytest.approx(1, abs=1e-12)
    assert chrf([text], [text]) == pytest.approx(1, abs=1e-12)


def test_all_unparsed_has_zero() -> None:
    assert bleu([None, None], ["a cat sat here", "b"]) == chrf([None, None], ["a cat sat here", "b"]) == 0


def test_an_unparsed_answer_counts_as_the_empty_text() -> None:
    said, true = "a cat sat on a mat", ["a cat sat on a mat", "a dog ran"]
    assert bleu([said, None], true) == bleu([said, ""], true) < 1
    assert chrf([said, None], true) == chrf([said, ""], true) < 1


def test_empty_texts_have_zero() -> None:
    assert bleu(["", "a"], ["", ""]) == chrf(["", "a"], ["", ""]) == 0


def test_no_post_gives_nan() -> None:
    assert math.isnan(bleu([], []))
    assert math.isnan(chrf([], []))


def test_sequences_must_be_parallel_and_have_references() -> None:
    with pytest.raises(ValueError, match="1 predictions for 2 references"):
        bleu(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="post 1 has no reference"):
        chrf(["a", "b"], ["a", []])
