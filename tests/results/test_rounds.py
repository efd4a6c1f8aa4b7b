"""Rounds of self-improvement: agreement with the reference, and drift from it."""

import pytest

from mmsoc_ray.metrics import drift, rouge_l
from mmsoc_ray.results.cells import CellRows, higher_is_better
from mmsoc_ray.results.rounds import agreements, drifts
from mmsoc_ray.tasks import get_task


def rows(references: list[list[str]], outputs: list[str | None]) -> CellRows:
    size = len(outputs)
    return CellRows(
        post_key=[f"p{at}" for at in range(size)],
        output=outputs,
        error=[None if output is not None else "broken" for output in outputs],
        reference=references,
        output_tokens=[1] * size,
    )


HUMOR = [["humorous"], ["not_humorous"], ["humorous"]]


@pytest.mark.parametrize(
    ("task", "references", "outputs", "expected"),
    [
        ("humor", HUMOR, ["Yes", "a cat", None], [1, 0, 0]),
        ("tagging", [["a", "b"], ["c"], ["d"]], ["a, c", "C", None], [0.5, 1, 0]),
        ("ocr", [["one two"], ["x"]], ['"one two"', ""], [1, 0]),
        ("image_description", [["a dog", "a cat sits"]], ["a cat sits"], [1]),
    ],
)
def test_agreement_of_a_post_lies_between_0_and_1_by_the_kind_of_task(task, references, outputs, expected):
    assert agreements(get_task(task), rows(references, outputs), "lenient").tolist() == expected


def test_agreement_of_texts_is_that_of_the_metric():
    references, outputs = [["a b c d"], ["e f"]], ["a c", "e g f"]
    found = agreements(get_task("image_description"), rows(references, outputs), "lenient")
    assert found.mean() == pytest.approx(rouge_l(outputs, references), abs=1e-12)


def test_agreement_follows_the_post_keys_not_the_order_of_the_rows():
    shuffled = CellRows(["p1", "p0"], ["Yes", "a cat"], [None, None], [["humorous"]] * 2, [1, 1])
    assert agreements(get_task("humor"), shuffled, "lenient").tolist() == [0, 1]


def test_drift_of_each_later_round_is_that_of_the_metric_with_its_interval():
    task = get_task("humor")
    references = HUMOR * 20
    said = [["Yes", "No", "Yes"] * 20, ["Yes", "Yes", "Yes"] * 20, ["No", "Yes", None] * 20]
    by_round = [rows(references, outputs) for outputs in said]
    found = drifts(task, by_round, identity="cell", policy="lenient")
    agreed = [agreements(task, of_round, "lenient").tolist() for of_round in by_round]
    assert [(metric.name, metric.value) for metric in found] == [
        ("drift@round_1", pytest.approx(drift(agreed[0], agreed[1]))),
        ("drift@round_2", pytest.approx(drift(agreed[0], agreed[2]))),
    ]
    assert all(metric.ci_low <= metric.value <= metric.ci_high for metric in found)
    assert found[0].ci_low > 0
    assert found == drifts(task, by_round, identity="cell", policy="lenient")


def test_the_metric_of_a_round_goes_by_its_metric():
    assert higher_is_better("macro_f1@round_2")
    assert not higher_is_better("word_error_rate@round_0")
    assert not higher_is_better("drift@round_1")
