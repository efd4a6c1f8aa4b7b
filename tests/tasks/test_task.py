"""How a task's question about a post is put into words."""

import json
import os
import pickle
import time
from pathlib import Path

import pytest

from mmsoc_ray.data import Post
from mmsoc_ray.tasks import SETTINGS, TASKS, check_setting, get_task, render, shows_picture, truncate_input

SNAPSHOT = Path(__file__).with_name("prompts.snapshot.json")

POST = Post(
    sample_id="7",
    dataset="example",
    split="test",
    image=b"png",
    text="My cat\n found the  printer again",
    transcription="WHEN YOU FIND THE BOX, THE WHOLE BOX!",
)
WORDS = "WHEN Y0U FIND THE BOX"

OFFICIAL = {
    "misinformation": "Is this news (image-text pair) misinformation? Answer 'Yes' or 'No'.",
    "hate_speech": "Is this meme hateful? Answer 'Yes' or 'No'.",
    "humor": "Is this meme humorous? Answer 'humorous' or 'not_humorous'.",
    "sarcasm": "Is this meme sarcastic? Answer 'sarcastic' or 'not_sarcastic'.",
    "offensiveness": "Is this meme offensive? Answer 'offensive' or 'not_offensive'.",
    "sentiment": (
        "What is the overall sentiment expressed through this meme? Answer 'positive' or 'neutral' or 'negative'"
    ),
    "tagging": (
        "Predict the tags of the following online video given its title, description, and thumbnail image. "
        'Different tags must be separated by commas. For example, "sports,tennis,french-open"'
    ),
    "ocr": "What is the text in the image? Use double quotes to enclose your answer.",
    "image_description": "Describe the scene, such as its major subjects, colors, and texture.",
    "social_context": "Describe the cultural and social context of the image.",
}


def test_all_prompts_are_those_of_the_snapshot() -> None:
    """A prompt never changes by accident; after a change that is meant, run this test with UPDATE_SNAPSHOTS=1."""
    rendered = {
        f"{task.name} | {setting} | {variant}": render(task, POST, setting, variant=variant, words=WORDS)
        for task in TASKS.values()
        for setting in SETTINGS
        for variant in ("official", *task.variants)
    }
    content = json.dumps(rendered, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        SNAPSHOT.write_text(content, encoding="utf-8")
    assert SNAPSHOT.read_bytes() == content.encode(), "a prompt changed; if it is meant to, set UPDATE_SNAPSHOTS=1 once"


def test_the_ten_tasks_have_their_official_prompts() -> None:
    assert {name: task.prompt for name, task in TASKS.items()} == OFFICIAL


def test_prompt_asks_for_the_word_of_each_label() -> None:
    for task in TASKS.values():
        assert all(f"'{word}'" in task.prompt for word in task.answers.values())
        assert tuple(task.answers) == task.labels


def test_asked_word_of_each_label_is_read_back_under_both_policies() -> None:
    for task in TASKS.values():
        for label, word in task.answers.items():
            assert task.parse(word, "strict").value == task.parse(word, "lenient").value == label


def test_transcription_stands_neither_in_zero_shot_nor_in_the_ocr_prompt() -> None:
    post = Post("1", "d", "s", text="a caption", transcription="SECRET")
    for task in TASKS.values():
        assert "SECRET" not in render(task, post, "zero_shot")
    for setting in SETTINGS:
        assert "SECRET" not in render(TASKS["ocr"], post, setting)


def test_text_only_shows_text_and_transcription() -> None:
    prompt = render(TASKS["humor"], POST, "text_only")
    assert prompt.startswith(
        "Text: My cat found the printer again.\nText in the image: WHEN YOU FIND THE BOX, THE WHOLE BOX!\n\n"
    )


def test_image_only_is_the_question_alone() -> None:
    for task in TASKS.values():
        assert render(task, POST, "image_only", words=WORDS) == task.prompt


def test_question_stands_last_and_tasks_share_the_prefix() -> None:
    prompts = [render(task, POST, "with_ocr", words=WORDS) for task in TASKS.values()]
    shared = "Text: My cat found the printer again.\nText in the image: WHEN Y0U FIND THE BOX.\n\n"
    assert prompts == [shared + task.prompt for task in TASKS.values()]


def test_words_of_an_ocr_engine_are_used_by_with_ocr_only() -> None:
    used = {setting for setting in SETTINGS if WORDS in render(TASKS["humor"], POST, setting, words=WORDS)}
    assert used == {"with_ocr"}


def test_tweet_variant_asks_about_the_tweet_and_shows_it() -> None:
    tweet = Post("1", "tweets", "test", text="oh great , monday")
    prompt = render(TASKS["sarcasm"], tweet, "zero_shot", variant="tweet")
    assert prompt == ("Text: oh great , monday.\n\nIs this tweet sarcastic? Answer 'sarcastic' or 'not_sarcastic'.")


@pytest.mark.parametrize("text", [None, "", "  \n\t "])
def test_absent_text_leaves_no_line(text: str | None) -> None:
    post = Post("1", "d", "s", text=text, transcription=text)
    assert render(TASKS["misinformation"], post, "text_only") == TASKS["misinformation"].prompt


def test_unknown_variant_names_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"'sarcasm' has no prompt variant 'tweets'. Allowed: official, tweet"):
        render(TASKS["sarcasm"], POST, "zero_shot", variant="tweets")


def test_unknown_setting_names_the_nearest_and_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"'zero-shot'. Did you mean 'zero_shot'\? Allowed: zero_shot, text_only"):
        check_setting("zero-shot")


def test_unknown_task_names_the_nearest_and_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"'humour'. Did you mean 'humor'\? Allowed: misinformation, "):
        get_task("humour")


def test_only_text_only_hides_the_picture() -> None:
    assert [setting for setting in SETTINGS if not shows_picture(setting)] == ["text_only"]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("a  b\n\tc d", 3, "a b c."),
        ("a b", 3, "a b."),
        ("a b?", 3, "a b?"),
        ("a b |", 3, "a b |"),
        ("a, b c", 1, "a,"),
        ("", 3, ""),
        ("x" * 100, 2, "x" * 32 + "."),
        ("日本語 テスト。", 5, "日本語 テスト。."),
    ],
)
def test_text_is_cut_and_ended_as_in_the_source(text: str, words: int, expected: str) -> None:
    assert truncate_input(text, words) == expected


def test_text_of_128_words_passes_whole() -> None:
    text = " ".join(f"word{index}" for index in range(200))
    assert truncate_input(text) == " ".join(text.split()[:128]) + "."


@pytest.mark.parametrize("unit", ["word ", "x", " ", "\n\n a", "🙂", "日"])
def test_a_megabyte_of_text_is_rendered_fast_and_bounded(unit: str) -> None:
    post = Post("1", "d", "s", text=unit * (1_000_000 // len(unit)), transcription=unit * (1_000_000 // len(unit)))
    started = time.process_time()
    prompt = render(TASKS["tagging"], post, "text_only")
    assert time.process_time() - started < 1
    assert len(prompt) < 5_000


def test_bound_below_one_word_is_an_error() -> None:
    with pytest.raises(ValueError, match="text_words is 0"):
        truncate_input("a", 0)


def test_tasks_can_be_sent_to_another_process() -> None:
    for task in TASKS.values():
        assert pickle.loads(pickle.dumps(task)) == task
        assert isinstance(hash(task), int)
