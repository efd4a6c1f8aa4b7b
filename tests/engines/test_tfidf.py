from collections.abc import Sequence

import pytest

from mmsoc_ray.data import Post
from mmsoc_ray.engines import Answer, PreparedPost, Request
from mmsoc_ray.engines.tfidf import TfidfEngine
from mmsoc_ray.tasks import classification, get_task, render

SARCASM = get_task("sarcasm")
OWN = classification("own", "Is it?", ("a", "b"), description="d", source="s")
TASKS = {"sarcasm": SARCASM, "own": OWN}
QUESTIONS = {"sarcasm": SARCASM.question("tweet"), "own": OWN.prompt}


def tweet(number: int, text: str | None, label: str | None = None) -> Post:
    targets = {"sarcasm": (label,)} if label else {}
    return Post(str(number), "tweets", "fit", text=text, targets=targets)


FIT = [
    tweet(at, f"{words} {at}", label)
    for at in range(6)
    for words, label in (("oh great, what a surprise", "sarcastic"), ("the bus leaves at noon", "not_sarcastic"))
]


def ask(engine: TfidfEngine, *posts: Post, task: str = "sarcasm", scored: bool = False) -> list[Answer]:
    labels = dict(TASKS[task].answers) if scored else None
    requests = [
        Request("text_only", task, render(TASKS[task], post, "text_only", variant=variant), False, 8, labels=labels)
        for post in posts
        for variant in ["tweet" if task == "sarcasm" else "official"]
    ]
    return list(engine.answer([PreparedPost("p", None, None, tuple(requests))]))


def fitted(posts: Sequence[Post] = FIT, evaluated: Sequence[Post] = ()) -> TfidfEngine:
    return TfidfEngine(posts, TASKS, QUESTIONS, evaluated)


def test_words_that_the_labels_share_decide():
    answers = ask(fitted(), tweet(0, "what a great surprise"), tweet(1, "a bus at noon"))
    assert [answer.output for answer in answers] == ["sarcastic", "not_sarcastic"]


def test_scores_are_probabilities_of_all_labels():
    (answer,) = ask(fitted(), tweet(0, "great"), scored=True)
    assert set(answer.label_scores or {}) == set(SARCASM.labels)
    assert sum((answer.label_scores or {}).values()) == pytest.approx(1)
    assert ask(fitted(), tweet(0, "great"))[0].label_scores is None


def test_the_question_is_not_read():
    changed = {**QUESTIONS, "sarcasm": "great surprise? answer"}
    engine = TfidfEngine(FIT, TASKS, changed, ())
    prompt = "Text: the bus leaves.\n\ngreat surprise? answer"
    (answer,) = engine.answer([PreparedPost("p", None, None, (Request("text_only", "sarcasm", prompt, False, 8),))])
    assert answer.output == "not_sarcastic"


def test_texts_that_are_evaluated_are_not_learnt_from():
    told = [*FIT, *(tweet(100 + at, "Zebra  stripes", "sarcastic") for at in range(50))]
    assert ask(fitted(told), tweet(0, "zebra stripes"))[0].output == "sarcastic"
    apart = fitted(told, [tweet(0, "zebra STRIPES")])
    assert ask(apart, tweet(0, "zebra stripes"), scored=True) == ask(fitted(), tweet(0, "zebra stripes"), scored=True)


def test_the_same_fit_gives_the_same_scores_to_the_bit():
    asked = [tweet(at, text) for at, text in enumerate(("great noon", "surprise bus", ""))]
    assert ask(fitted(), *asked, scored=True) == ask(fitted(), *asked, scored=True)


def test_one_label_alone_is_always_answered():
    (answer,) = ask(fitted(FIT[::2]), tweet(0, "the bus"), scored=True)
    assert (answer.output, answer.label_scores) == ("sarcastic", {"sarcastic": 1.0, "not_sarcastic": 0.0})


@pytest.mark.parametrize("posts", [[], [tweet(0, None, "sarcastic"), tweet(1, "!", "not_sarcastic")]])
def test_without_a_word_to_learn_from_every_answer_is_an_error(posts):
    (answer,) = ask(fitted(posts), tweet(0, "great"))
    assert answer.error == "ValueError: the fit split has no texts with labels for task 'sarcasm'"


def test_a_task_without_targets_in_the_fit_is_an_error_of_its_own():
    assert "no texts with labels for task 'own'" in str(ask(fitted(), tweet(0, "great"), task="own")[0].error)
    assert ask(fitted(), tweet(0, "great"))[0].error is None
