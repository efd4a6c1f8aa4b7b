import dataclasses
import random

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from mmsoc_ray.results import CellRows, score_cell
from mmsoc_ray.results.gains import Gain, gains
from mmsoc_ray.tasks import get_task

HUMOR = get_task("humor")


def cell(outputs: list[str | None], references: list[tuple[str, ...]]) -> CellRows:
    keys = [f"p{at:04d}" for at in range(len(outputs))]
    errors = [None if output is not None else "failed" for output in outputs]
    return CellRows(keys, outputs, errors, references, [1] * len(outputs))


def labels(shares: tuple[float, float], posts: int = 300) -> tuple[CellRows, CellRows, list[str]]:
    """Return two cells that give the true label with those shares, and the true labels."""
    generator = random.Random(7)
    true = [generator.choice(HUMOR.labels) for _ in range(posts)]
    other = dict(zip(HUMOR.labels, reversed(HUMOR.labels), strict=True))
    said = [[label if generator.random() < share else other[label] for label in true] for share in shares]
    references = [(label,) for label in true]
    first, second = (cell([HUMOR.answers[label] for label in of_cell], references) for of_cell in said)
    return first, second, true


def by_metric(found: tuple[Gain, ...]) -> dict[str, Gain]:
    return {gain.metric: gain for gain in found}


def test_a_gain_is_the_difference_of_the_two_cells_own_scores():
    tuned, base, _ = labels((0.8, 0.6))
    found = by_metric(gains(HUMOR, tuned, base, identity="pair"))
    ours = {m.name: m.value for m in score_cell(HUMOR, tuned, identity="a").metrics}
    theirs = {m.name: m.value for m in score_cell(HUMOR, base, identity="b").metrics}
    assert found.keys() == ours.keys() - {"output_tokens_mean"}
    for name, gain in found.items():
        assert (gain.value, gain.other) == (ours[name], theirs[name])
        assert gain.gain == ours[name] - theirs[name]


def test_accuracy_is_tested_exactly_and_macro_f1_by_the_bootstrap():
    tuned, base, true = labels((0.75, 0.7))
    found = by_metric(gains(HUMOR, tuned, base, identity="pair"))
    right = [
        np.array([said == HUMOR.answers[label] for said, label in zip(rows.output, true, strict=True)])
        for rows in (tuned, base)
    ]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert found["accuracy"].test == "mcnemar_exact"
    assert found["accuracy"].p_value == stats.binomtest(only[0], sum(only)).pvalue
    assert found["macro_f1"].test == "paired_bootstrap"


def test_the_interval_of_a_label_metric_is_that_of_scipys_paired_bootstrap():
    tuned, base, true = labels((0.8, 0.6), posts=200)
    gain = by_metric(gains(HUMOR, tuned, base, identity="pair"))["macro_f1"]
    words = {word: label for label, word in HUMOR.answers.items()}
    said = [[words[output] for output in rows.output] for rows in (tuned, base)]

    def difference(at: np.ndarray) -> float:
        truth = [true[place] for place in at]
        first, second = ([of[place] for place in at] for of in said)
        return f1_score(truth, first, average="macro") - f1_score(truth, second, average="macro")

    found = stats.bootstrap(
        (np.arange(200),), difference, vectorized=False, n_resamples=600, method="percentile", rng=1
    )
    assert (gain.ci_low, gain.ci_high) == pytest.approx(tuple(found.confidence_interval), abs=0.02)


def test_pairing_makes_the_interval_narrower_than_two_apart():
    tuned, base, _ = labels((0.7, 0.7))
    same = [
        output if at % 10 else other for at, (output, other) in enumerate(zip(base.output, tuned.output, strict=True))
    ]
    near = dataclasses.replace(base, output=same)
    accuracy = by_metric(gains(HUMOR, near, base, identity="pair"))["accuracy"]
    alone = next(m for m in score_cell(HUMOR, base, identity="alone").metrics if m.name == "accuracy")
    assert accuracy.ci_high - accuracy.ci_low < (alone.ci_high - alone.ci_low) / 2


def test_a_cell_gains_nothing_over_itself():
    tuned, _, _ = labels((0.8, 0.6), posts=40)
    for gain in gains(HUMOR, tuned, tuned, identity="pair"):
        assert (gain.gain, gain.ci_low, gain.ci_high, gain.p_value) == (0, 0, 0, 1)


def test_the_order_of_the_rows_changes_nothing():
    tuned, base, _ = labels((0.8, 0.6), posts=40)
    shuffled = {
        name: [getattr(base, name)[at] for at in reversed(range(40))]
        for name in ("post_key", "output", "error", "reference", "output_tokens")
    }
    assert gains(HUMOR, tuned, CellRows(**shuffled), identity="pair") == gains(HUMOR, tuned, base, identity="pair")


def test_cells_of_other_posts_are_not_compared():
    tuned, base, _ = labels((0.8, 0.6), posts=4)
    with pytest.raises(ValueError, match="have other posts or references"):
        gains(HUMOR, tuned, dataclasses.replace(base, post_key=["q0", "q1", "q2", "q3"]), identity="pair")


@pytest.mark.parametrize(
    ("task", "references", "outputs", "other"),
    [
        ("tagging", [("cats", "dogs"), ("news",)], ["cats, dogs", "news"], ["cats", None]),
        ("ocr", [("when the cat", "cat"), ("hello",)], ['"when the cat"', '"hallo"'], ['"dog"', None]),
        ("image_description", [("a cat sleeps",), ("a dog",)], ["a cat sleeps", "a dog runs"], ["dogs", None]),
    ],
)
def test_every_kind_of_task_is_compared_by_all_of_its_metrics(task, references, outputs, other):
    definition = get_task(task)
    found = gains(definition, cell(outputs, references), cell(other, references), identity="pair")
    scored = score_cell(definition, cell(outputs, references), identity="a").metrics
    assert {gain.metric for gain in found} == {m.name for m in scored} - {"output_tokens_mean"}
    assert {gain.metric: gain.value for gain in found if not np.isnan(gain.value)} == {
        m.name: m.value for m in scored if m.name != "output_tokens_mean" and not np.isnan(m.value)
    }
    exact = {gain.metric for gain in found if gain.test == "mcnemar_exact"}
    assert exact == {"success_rate"} | ({"exact_match"} if task != "image_description" else set())
    assert all(np.isnan(gain.p_value) or 0 < gain.p_value <= 1 for gain in found)
