"""Every metric of a cell is what its public function gives, on random and on adversarial cells."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsoc_ray import metrics as m
from mmsoc_ray.results.cells import CellRows, MetricValue, score_cell
from mmsoc_ray.tasks import Task, get_task, normalise_tag

NAN = math.nan
AVERAGED = [f"{how}_{what}" for how in ("macro", "micro", "weighted") for what in ("f1", "precision", "recall")]
SENTIMENT, HUMOR, TAGGING, OCR = map(get_task, ("sentiment", "humor", "tagging", "ocr"))
DESCRIPTION = get_task("image_description")
SAID = ["humorous", "Positive.", "not_humorous", "neutral", "", "“negative”", "我不知道", "I'm sorry, I can't.", None]
TEXTS = [
    "",
    " ",
    "a cat sat",
    "A CAT  sat!",
    "猫が寝る",
    "ＣＡＦＥ\u0301 noir",
    "I cannot describe this image.",
    "😀 !",
]
SHARES = [0.0, 0.5, 0.5, 1.0, 0.2, NAN]
Outputs = Sequence[str | None]


def cell(references: Sequence[Sequence[str]], outputs: Outputs, **more: object) -> CellRows:
    return CellRows(
        post_key=[f"k{at:03}" for at in range(len(outputs))],
        output=outputs,
        error=[None if output is not None else "lost" for output in outputs],
        reference=references,
        output_tokens=[len(output) if output is not None else None for output in outputs],
        **more,  # type: ignore[arg-type]
    )


def assert_agrees(task: Task, rows: CellRows, expected: Mapping[str, float]) -> None:
    parsed = [None if output is None else task.parse(output) for output in rows.output]
    expected = {
        **expected,
        "success_rate": m.success_rate([None if one is None else one.values for one in parsed]),
        "refusal_rate": m.refusal_rate([one is not None and one.refused for one in parsed]),
        "output_tokens_mean": m.output_tokens_mean(rows.output_tokens),
    }
    found = score_cell(task, rows, identity="x").metrics
    assert {metric.name for metric in found} == set(expected)
    values = {metric.name: metric.value for metric in found}
    assert values == pytest.approx(dict(expected), abs=1e-12, nan_ok=True)
    assert all(map(has_an_interval, found))


def has_an_interval(metric: MetricValue) -> bool:
    """Whether the interval is one; it may be undefined, or one of few posts beside the value."""
    return math.isnan(metric.ci_low) == math.isnan(metric.ci_high) and not metric.ci_low > metric.ci_high


def classified(task: Task, true: Sequence[str], outputs: Outputs, shares: Sequence[float] | None = None) -> None:
    """Check a classification; ``shares`` are the probabilities of the first label, NaN where a post has none."""
    labels = task.labels
    said = [None if output is None else task.parse(output).value for output in outputs]
    expected = {
        name: getattr(m, name)(true, said, labels) for name in ("accuracy", "balanced_accuracy", "mcc", *AVERAGED)
    }
    for label, scores in m.per_class_scores(true, said, labels).items():
        expected |= {f"{name}_{label}": getattr(scores, name) for name in ("f1", "precision", "recall")}
    more: dict[str, object] = {}
    if shares is not None:
        rest = len(labels) - 1
        matrix = [[share, *[(1 - share) / rest] * rest] for share in shares]
        absent = [math.isnan(share) for share in shares]
        of_labels = [
            None if no else dict(zip(labels, row, strict=True)) for no, row in zip(absent, matrix, strict=True)
        ]
        more = {
            "label_scores": of_labels,
            "score": [None if no or task.positive is None else share for no, share in zip(absent, shares, strict=True)],
        }
        if not all(absent):
            expected["log_loss"] = m.log_loss(true, matrix, labels)
            expected["ece"] = m.expected_calibration_error(true, matrix, labels)
            if task.positive is not None:
                positive = [label == task.positive for label in true]
                expected["auroc"] = m.auroc(positive, shares)
                expected["average_precision"] = m.average_precision(positive, shares)
    assert_agrees(task, cell([[label] for label in true], outputs, **more), expected)


def tagged(references: Sequence[Sequence[str]], outputs: Outputs) -> None:
    true = [{normalise_tag(tag) for tag in tags} for tags in references]
    said = [None if output is None else TAGGING.parse(output).values for output in outputs]
    expected = {
        "sample_f1": m.sample_f1(true, said),
        "micro_f1": m.tag_micro_f1(true, said),
        "macro_f1": m.tag_macro_f1(true, said),
        "jaccard": m.jaccard(true, said),
        "hamming_loss": m.hamming_loss(true, said),
        "exact_match": m.tag_exact_match(true, said),
    }
    assert_agrees(TAGGING, cell(references, outputs), expected)


def transcribed(true: Sequence[str], outputs: Outputs) -> None:
    said = [None if output is None else OCR.parse(output).value for output in outputs]
    expected = {
        "word_error_rate": m.word_error_rate(true, said),
        "character_error_rate": m.character_error_rate(true, said),
        "exact_match": m.exact_match(true, said),
        "rouge_l": m.rouge_l(said, true),
    }
    assert_agrees(OCR, cell([[text] for text in true], outputs), expected)


def described(references: Sequence[Sequence[str]], outputs: Outputs) -> None:
    said = [None if output is None else DESCRIPTION.parse(output).value for output in outputs]
    expected = {name: getattr(m, name)(said, references) for name in ("bleu", "chrf", "rouge_1", "rouge_2", "rouge_l")}
    assert_agrees(DESCRIPTION, cell(references, outputs), expected)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from(SENTIMENT.labels), st.sampled_from(SAID)), min_size=1, max_size=12))
def test_random_classifications_agree(posts: list[tuple[str, str | None]]) -> None:
    classified(SENTIMENT, [true for true, _ in posts], [said for _, said in posts])


@settings(max_examples=15)
@given(
    st.sampled_from([HUMOR, SENTIMENT]),
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(SAID), st.sampled_from(SHARES)), min_size=1, max_size=12),
)
def test_random_scores_agree(task: Task, posts: list[tuple[int, str | None, float]]) -> None:
    classified(task, [task.labels[at] for at, _, _ in posts], [o for _, o, _ in posts], [s for _, _, s in posts])


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.sampled_from(["Sports clubs", "tennis rackets", "音楽", "french-open"]), min_size=1, max_size=3
            ),
            st.sampled_from(["sports clubs, French Open", "音楽", "x", "", "I'm sorry, I can't.", None]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_random_tags_agree(posts: list[tuple[list[str], str | None]]) -> None:
    tagged([true for true, _ in posts], [said for _, said in posts])


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from(TEXTS), st.none() | st.sampled_from(TEXTS)), min_size=1, max_size=8))
def test_random_texts_agree(posts: list[tuple[str, str | None]]) -> None:
    transcribed([true for true, _ in posts], [said for _, said in posts])
    described([[true, "the cat"] for true, _ in posts], [said for _, said in posts])


@pytest.mark.parametrize(
    ("true", "outputs", "shares"),
    [
        (["humorous"] * 3, ["humorous"] * 3, [0.9, 0.9, 0.1]),
        (["not_humorous"] * 3, ["humorous"] * 3, [0.9, 0.9, 0.1]),
        (["humorous", "not_humorous"], ["?", "?"], [0.5, 0.5]),
        (["humorous", "not_humorous"], [None, None], [NAN, NAN]),
        (["humorous", "not_humorous"], ["", ""], [NAN, 0.3]),
        (["humorous", "not_humorous"] * 3, ["humorous", "not_humorous"] * 3, [0.5] * 6),
        (["humorous", "not_humorous"], ["“Humorous”", "ｈｕｍｏｒｏｕｓ"], [1.0, 0.0]),
        (["not_humorous", "humorous"], ["yes", "no"], [1.0, 0.0]),
    ],
    ids=[
        "one class, right",
        "one class, wrong",
        "all unparsed",
        "all failed and without scores",
        "all empty, one without score",
        "all scores tied",
        "Unicode",
        "certain and wrong",
    ],
)
def test_adversarial_classifications_agree(true: list[str], outputs: list[str | None], shares: list[float]) -> None:
    classified(HUMOR, true, outputs, shares)


@pytest.mark.parametrize("outputs", [[None, None], ["", ""], ["I'm sorry, I can't help.", " "], ["猫", "é"]])
def test_adversarial_answers_of_every_other_kind_agree(outputs: list[str | None]) -> None:
    tagged([["news"], ["猫", "é"]], outputs)
    transcribed(["news", "猫"], outputs)
    transcribed(["", ""], outputs)
    described([["news at ten"], ["猫", "é"]], outputs)
