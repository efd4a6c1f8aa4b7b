"""One cell: answers become metrics, exactly and reproducibly."""

import dataclasses
import math
import random

import pytest

from mmsoc_ray.metrics import (
    accuracy,
    auroc,
    average_precision,
    expected_calibration_error,
    log_loss,
    macro_f1,
    mcc,
    rouge_l,
    word_error_rate,
)
from mmsoc_ray.results.cells import HEADLINE, CellRows, CellScores, higher_is_better, score_cell
from mmsoc_ray.results.footnotes import METRIC_MEANINGS
from mmsoc_ray.tasks import TASKS, get_task

HUMOR = get_task("humor")


def rows(references: list[list[str]], outputs: list[str | None], **more: object) -> CellRows:
    size = len(outputs)
    return CellRows(
        post_key=[f"memes/test/{index:03}" for index in range(size)],
        output=outputs,
        error=[None if output is not None else "picture: not an image" for output in outputs],
        reference=references,
        output_tokens=[3 if output is not None else None for output in outputs],
        **more,  # type: ignore[arg-type]
    )


def values(scores: CellScores) -> dict[str, float]:
    return {metric.name: metric.value for metric in scores.metrics}


def many(size: int = 200) -> CellRows:
    chosen = random.Random(7)
    said = ["humorous", "Not humorous.", "a cat", None, "I'm sorry, I can't help with that."]
    references = [[chosen.choice(HUMOR.labels)] for _ in range(size)]
    return rows(references, [chosen.choice(said) for _ in range(size)])


def test_classification_counts_failed_and_unparsed_answers_as_wrong() -> None:
    cell = rows([["humorous"], ["humorous"], ["not_humorous"], ["humorous"]], ["Yes", None, "no", "a cat"])
    scores = score_cell(HUMOR, cell, identity="x")
    assert (scores.n, scores.n_failed, scores.n_unparsed) == (4, 1, 1)
    found = values(scores)
    assert found["accuracy"] == found["success_rate"] == 0.5
    assert (found["precision_humorous"], found["recall_humorous"]) == (1, pytest.approx(1 / 3))
    assert (found["f1_not_humorous"], found["refusal_rate"], found["output_tokens_mean"]) == (1, 0, 3)


def test_values_are_those_of_the_metric_functions() -> None:
    cell = many()
    true = [reference[0] for reference in cell.reference]
    said = [None if output is None else HUMOR.parse(output).value for output in cell.output]
    found = values(score_cell(HUMOR, cell, identity="x"))
    for name, function in (("accuracy", accuracy), ("macro_f1", macro_f1), ("mcc", mcc)):
        assert found[name] == pytest.approx(function(true, said, HUMOR.labels), abs=1e-12)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_metric_of_a_task_stands_in_its_order(name: str) -> None:
    task = TASKS[name]
    reference = [task.labels[0]] if task.labels else ["a text"]
    scores = score_cell(task, rows([reference] * 3, ["x", None, "a text"]), identity="x")
    unscored = ("auroc", "average_precision", "log_loss", "ece", "bertscore_f1")
    assert [metric.name for metric in scores.metrics] == [metric for metric in task.metrics if metric not in unscored]
    assert HEADLINE[name] in values(scores)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_metric_of_a_task_has_a_meaning_and_those_of_a_label_a_name(name: str) -> None:
    task = TASKS[name]
    of_labels = {f"{what}_{label}" for label in task.labels for what in ("f1", "precision", "recall")}
    assert set(task.metrics) - of_labels <= set(METRIC_MEANINGS)
    assert of_labels <= set(task.metrics)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_cell_without_posts_has_undefined_metrics(name: str) -> None:
    scores = score_cell(TASKS[name], rows([], []), identity="x")
    assert scores.n == 0
    assert all(math.isnan(metric.value) and math.isnan(metric.ci_low) for metric in scores.metrics)


def test_interval_encloses_the_value_and_is_reproducible() -> None:
    first, again = (score_cell(HUMOR, many(), identity="x") for _ in range(2))
    assert first == again
    assert all(metric.ci_low <= metric.value <= metric.ci_high for metric in first.metrics)
    assert first != score_cell(HUMOR, many(), identity="y")


@pytest.mark.parametrize("name", ["humor", "tagging", "ocr", "image_description"])
def test_order_of_the_rows_does_not_matter(name: str) -> None:
    task = TASKS[name]
    chosen = random.Random(3)
    said = ["humorous", "no", '"a cat sat"', "cat, dog", None]
    references = [[chosen.choice(task.labels or ("a cat sat", "cat", "dog"))] for _ in range(50)]
    cell = rows(references, [chosen.choice(said) for _ in range(50)], score=[chosen.random() for _ in range(50)])
    order = list(range(50))
    chosen.shuffle(order)
    shuffled = CellRows(
        **{
            field.name: None if column is None else [column[at] for at in order]
            for field in dataclasses.fields(CellRows)
            for column in [getattr(cell, field.name)]
        }
    )
    assert score_cell(task, shuffled, identity="x") == score_cell(task, cell, identity="x")


def test_scored_labels_add_ranking_and_calibration() -> None:
    truth = [["humorous"], ["not_humorous"], ["humorous"], ["not_humorous"]]
    scores = [0.9, 0.2, None, 0.6]
    of_labels = [None if score is None else {"humorous": score, "not_humorous": 1 - score} for score in scores]
    found = values(
        score_cell(HUMOR, rows(truth, ["yes", "no", None, "yes"], label_scores=of_labels, score=scores), identity="x")
    )
    known = [math.nan if score is None else score for score in scores]
    matrix = [[score, 1 - score] for score in known]
    true = [reference[0] for reference in truth]
    positive = [label == "humorous" for label in true]
    assert found["auroc"] == pytest.approx(auroc(positive, known), abs=1e-12)
    assert found["average_precision"] == pytest.approx(average_precision(positive, known), abs=1e-12)
    assert found["log_loss"] == pytest.approx(log_loss(true, matrix, HUMOR.labels), abs=1e-12)
    assert found["ece"] == pytest.approx(expected_calibration_error(true, matrix, HUMOR.labels), abs=1e-12)


def test_policy_decides_what_is_unparsed() -> None:
    cell = rows([["humorous"]], ["The answer is humorous."])
    assert score_cell(HUMOR, cell, identity="x").n_unparsed == 0
    assert score_cell(HUMOR, cell, identity="x", policy="strict").n_unparsed == 1


def test_tags_are_compared_as_normalised() -> None:
    cell = rows([["Sports", "french-open"], ["news"]], ["sports, French Open", None])
    found = values(score_cell(get_task("tagging"), cell, identity="x"))
    assert (found["sample_f1"], found["exact_match"], found["jaccard"]) == (0.5, 0.5, 0.5)


def test_ocr_scores_the_quoted_words_and_deletes_all_where_there_are_none() -> None:
    cell = rows([["WHEN THE CAT"], ["a b c"]], ['It says "when the cat".', None])
    found = values(score_cell(get_task("ocr"), cell, identity="x"))
    assert found["word_error_rate"] == word_error_rate(["when the cat", "a b c"], ["when the cat", None]) == 0.5
    assert found["exact_match"] == found["rouge_l"] == 0.5


def test_the_nearest_of_several_transcriptions_counts() -> None:
    found = values(score_cell(get_task("ocr"), rows([["x y z", "a b c d"]], ['"a b c"']), identity="x"))
    assert found["word_error_rate"] == 0.25


def test_the_best_of_several_descriptions_counts() -> None:
    cell = rows([["a dog", "a cat sits"]], ["A cat sits."])
    assert values(score_cell(get_task("image_description"), cell, identity="x"))["rouge_l"] == 1
    assert rouge_l(["A cat sits."], [["a dog", "a cat sits"]]) == 1


def test_a_refused_description_has_zero_and_is_counted() -> None:
    cell = rows([["i am sorry"]], ["I'm sorry, I can't describe this image."])
    found = values(score_cell(get_task("image_description"), cell, identity="x"))
    assert (found["rouge_1"], found["refusal_rate"], found["success_rate"]) == (0, 1, 0)


def test_a_reference_outside_the_labels_names_post_and_value() -> None:
    with pytest.raises(ValueError, match=r"'memes/test/000' has the reference \['funny'\] .* humorous, not_humorous"):
        score_cell(HUMOR, rows([["funny"]], ["yes"]), identity="x")


def test_an_absent_reference_names_the_post() -> None:
    with pytest.raises(ValueError, match="'memes/test/000' has no reference for task 'ocr'"):
        score_cell(get_task("ocr"), rows([[]], ["yes"]), identity="x")


def test_a_post_that_stands_twice_is_refused() -> None:
    cell = dataclasses.replace(rows([["humorous"]] * 2, ["yes", "yes"]), post_key=["k", "k"])
    with pytest.raises(ValueError, match="post 'k' stands twice"):
        score_cell(HUMOR, cell, identity="x")


def test_columns_must_be_parallel() -> None:
    with pytest.raises(ValueError, match="have the lengths"):
        score_cell(HUMOR, rows([["humorous"]], ["yes", "no"]), identity="x")


def test_errors_and_costs_are_better_when_lower() -> None:
    assert higher_is_better("macro_f1")
    assert higher_is_better("f1_humorous")
    assert not higher_is_better("word_error_rate")
    assert not higher_is_better("ece")


def test_topics_of_mm_soc_are_scored_over_its_whole_vocabulary_and_other_tags_over_their_own() -> None:
    tagging = get_task("tagging")
    assert len(set(tagging.vocabulary)) == 62
    topics = rows([["Music", "Hip_hop_music"], ["Sport"]], ["music, hip hop music", "music"])
    found = values(score_cell(tagging, topics, identity="x"))
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 62)
    assert found["hamming_loss"] == pytest.approx(2 / (2 * 62))
    own = rows([["cats"], ["Sport"]], ["cats", "music"])
    assert values(score_cell(tagging, own, identity="x"))["macro_f1"] == 0.5
