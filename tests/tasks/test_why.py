import pytest

from mmsoc_ray.data import Post
from mmsoc_ray.tasks import (
    EXPLAIN,
    TASKS,
    base_setting,
    explained_task,
    get_task,
    is_explainable,
    is_official,
    render,
    why_question,
    why_questions,
)
from mmsoc_ray.tasks.why import OFFICIAL

LABELLED = [task for task in TASKS.values() if task.labels]


@pytest.mark.parametrize("task", LABELLED, ids=lambda task: task.name)
def test_every_label_of_every_task_has_a_question_of_its_own(task):
    questions = [why_question(task, (label,)) for label in task.labels]
    assert len(set(questions)) == len(task.labels)
    assert set(why_questions(task)) == set(task.labels)


def test_the_official_questions_are_to_the_letter():
    asked = [text for labels in OFFICIAL.values() for text in labels.values()]
    assert asked == [
        "Why do you think this image text pair is potentially misinformative?",
        "Why do you think this image text pair is potentially true news?",
        "Why do you think this meme is potentially hateful?",
        "Why is this meme potentially humorous?",
        "Why is this meme potentially not humorous?",
        "Why is this meme potentially sarcastic?",
        "Why is this meme potentially not sarcastic?",
        "Why is this meme potentially offensive?",
        "Why is this meme potentially not offensive?",
        "Why is the sentiment potentially positive?",
        "Why is the sentiment potentially negative?",
    ]


def test_only_what_mm_soc_asks_counts_as_official():
    assert is_official(get_task("hate_speech"), "hateful")
    assert not is_official(get_task("hate_speech"), "not_hateful")
    assert not is_official(get_task("sarcasm"), "sarcastic", "tweet")


def test_tags_stand_in_the_question_in_the_words_of_the_right_answer():
    asked = why_question(get_task("tagging"), ("Jazz", "Music {answer}"))
    assert '"Jazz,Music {answer}"' in asked


def test_a_variant_without_questions_names_its_own_question_and_the_answer():
    assert why_question(get_task("sarcasm"), ("sarcastic",), "tweet") == "Why is this tweet potentially sarcastic?"
    own = get_task("sarcasm")
    own = type(own)(**{**vars(own), "name": "irony", "prompt": "Ironic?"})
    assert why_question(own, ("sarcastic",)) == 'Ironic?\nThe right answer is "sarcastic". Why?'


@pytest.mark.parametrize(("task", "reference"), [("humor", ("funny",)), ("humor", ()), ("ocr", ("some text",))])
def test_what_is_no_label_has_no_question(task, reference):
    with pytest.raises(ValueError, match=task):
        why_question(get_task(task), reference)


def test_texts_have_no_labels_to_explain():
    assert [name for name, task in TASKS.items() if not is_explainable(task)] == [
        "ocr",
        "image_description",
        "social_context",
    ]


def test_a_post_is_shown_as_without_a_right_answer_and_then_asked_why():
    post = Post("1", "d", "train", text="A tweet", transcription="A caption")
    task = get_task("sarcasm")
    asked = why_question(task, ("sarcastic",))
    assert render(task, post, base_setting(EXPLAIN), asked=asked) == asked
    seen = render(task, post, base_setting(EXPLAIN, sees_pictures=False), asked=asked)
    assert seen == f"Text: A tweet.\nText in the image: A caption.\n\n{asked}"


def test_no_quality_is_claimed_of_answers_that_were_told_the_label():
    task = explained_task(get_task("humor"))
    assert task.metrics == ("success_rate", "refusal_rate", "output_tokens_mean")
    assert task.parse("It is funny.").values == ("It is funny.",)
