"""Words of a task's labels: what may be declared, and what may not."""

import pytest

from mmsoc_ray.tasks import classification, label_words


def test_yes_and_no_mean_the_positive_label_and_the_other() -> None:
    assert label_words(("spam", "ham"), positive="spam").yes_no == {"yes": "spam", "no": "ham"}


def test_three_labels_have_neither_yes_nor_opposites() -> None:
    words = label_words(("a", "b", "c"))
    assert not words.yes_no
    assert not words.opposite


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ("a",)}, "at least two"),
        ({"labels": ("a", "a")}, "at least two different"),
        ({"labels": ("a", "b"), "positive": "c"}, "positive label 'c'"),
        ({"labels": ("a", "b"), "answers": {"a": "Yes", "b": "yes"}}, "both asked for by 'yes'"),
        ({"labels": ("a", "b"), "synonyms": {"b": ("a",)}}, "share the word 'a'"),
        ({"labels": ("a", "!!")}, "holds no word"),
    ],
)
def test_words_that_do_not_fit_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_words(**arguments)  # type: ignore[arg-type]


def test_a_task_of_a_users_own_reads_its_labels() -> None:
    task = classification(
        "toxicity",
        "Is this toxic? Answer 'toxic' or 'not_toxic'.",
        ("toxic", "not_toxic"),
        positive="toxic",
        description="",
        source="",
    )
    assert task.parse("This comment isn't toxic.").value == "not_toxic"
    assert "f1_not_toxic" in task.metrics
