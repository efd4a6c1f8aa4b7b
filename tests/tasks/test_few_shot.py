"""Few-shot examples: which posts, in which order, in which words."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.data import Post
from mmsoc_ray.tasks import (
    ExampleChooser,
    base_setting,
    check_setting,
    example,
    get_task,
    render,
    right_answer,
    shots,
    with_examples,
)

HUMOR = get_task("humor")


def post(number: int, label: str = "humorous", **fields: object) -> Post:
    return Post(f"p{number}", "memes", "train", text=f"caption {number}", targets={"humor": (label,)}, **fields)  # type: ignore[arg-type]


def chosen(posts: list[Post], count: int, *, task: str = "humor", seed: int = 0) -> list[str]:
    chooser = ExampleChooser(get_task(task), count, seed)
    for each in posts:
        chooser.add(each)
    return [post.post_key for post in chooser.chosen()]


POSTS = [post(number, "humorous" if number % 5 else "not_humorous") for number in range(40)]


@given(st.integers(1, 16), st.randoms())
def test_the_order_of_the_split_does_not_matter(count: int, shuffle: random.Random) -> None:
    shuffled = list(POSTS)
    shuffle.shuffle(shuffled)
    assert chosen(shuffled, count) == chosen(POSTS, count)


@pytest.mark.parametrize("count", range(1, 17))
def test_labels_are_balanced_and_no_post_stands_twice(count: int) -> None:
    keys = chosen(POSTS, count)
    assert len(set(keys)) == count
    rare = sum(int(key.rpartition("p")[2]) % 5 == 0 for key in keys)
    assert abs(2 * rare - count) <= 1


def test_a_label_that_runs_out_leaves_its_places_to_the_others() -> None:
    keys = chosen([post(0, "not_humorous"), *(post(number) for number in range(1, 9))], 6)
    assert len(keys) == 6
    assert "memes/train/p0" in keys


def test_another_seed_chooses_other_posts() -> None:
    assert chosen(POSTS, 4, seed=1) != chosen(POSTS, 4)


def test_a_larger_number_keeps_the_smaller_ones_examples() -> None:
    assert set(chosen(POSTS, 4)) <= set(chosen(POSTS, 8))


def test_a_post_without_a_word_to_show_comes_last() -> None:
    silent = [Post(f"p{number}", "memes", "train", targets={"humor": ("humorous",)}) for number in range(20)]
    assert chosen([*silent, post(99)], 1) == ["memes/train/p99"]
    assert len(chosen(silent, 3)) == 3


def test_a_post_without_a_usable_target_is_passed_over() -> None:
    unusable = [post(1, "hilarious"), Post("p2", "memes", "train", text="x", targets={"sarcasm": ("sarcastic",)})]
    assert chosen([*unusable, post(3)], 4) == ["memes/train/p3"]


@pytest.mark.parametrize(
    ("task", "reference", "answer"),
    [
        ("humor", ("not_humorous",), "not_humorous"),
        ("hate_speech", ("hateful",), "Yes"),
        ("tagging", ("sports", "french-open"), "sports,french-open"),
        ("ocr", ('HE SAID "NO"',), "\"HE SAID 'NO'\""),
        ("image_description", ("A cat.", "A dog."), "A cat."),
        ("image_description", ("word " * 500,), " ".join(["word"] * 128)),
    ],
)
def test_a_right_answer_is_in_the_words_that_the_prompt_asks_for(task: str, reference: tuple[str, ...], answer: str):
    assert right_answer(get_task(task), reference) == answer
    if task != "image_description":
        assert get_task(task).parse(answer, "strict").values


def test_an_example_shows_text_and_transcription_but_never_that_of_ocr() -> None:
    shown = Post("p", "memes", "train", text="a caption", transcription="SOME WORDS", targets={
        "humor": ("humorous",), "ocr": ("SOME WORDS",)})  # fmt: skip
    for task, holds in (("humor", True), ("ocr", False)):
        as_text = example(get_task(task), shown)
        assert as_text.prompt.startswith("Text: a caption.")
        assert ("SOME WORDS" in as_text.prompt) == holds


def test_examples_stand_before_the_question_each_with_its_answer() -> None:
    prompt, places = with_examples("Is this meme humorous?", [example(HUMOR, each) for each in POSTS[:2]])
    assert places == (0,)
    assert prompt.startswith("Example 1 (its picture is not shown):\nText: caption ")
    assert prompt.count(HUMOR.prompt + "\nAnswer: ") == 2
    assert prompt.endswith("\n\nThe post that is asked about:\nIs this meme humorous?")
    assert with_examples("Is it?", ()) == ("Is it?", (0,))


def test_an_example_with_its_picture_is_shown_as_the_asked_post_is() -> None:
    news = Post("n", "news", "train", text="an item", transcription="WORDS", targets={"misinformation": ("fake",)})
    for task, post_ in (("humor", post(1, transcription="WORDS")), ("misinformation", news)):
        shown = example(get_task(task), post_, image_sha256="digest")
        assert shown.prompt == render(get_task(task), post_, "zero_shot")
        assert "WORDS" not in shown.prompt


def test_pictures_have_their_places_before_each_question() -> None:
    digests = ("a", None, "b")
    shown = [example(HUMOR, each, image_sha256=digest) for each, digest in zip(POSTS, digests, strict=False)]
    prompt, places = with_examples("Is it?", shown)
    pieces = [prompt[start:end] for start, end in itertools.pairwise((0, *places, len(prompt)))]
    assert [piece.splitlines()[-1] for piece in pieces] == [
        "Example 1:",
        "Example 3:",
        "The post that is asked about:",
        "Is it?",
    ]
    assert pieces[1].startswith(
        f"{HUMOR.prompt}\nAnswer: not_humorous\n\nExample 2 (its picture is not shown):\nText: "
    )


@pytest.mark.parametrize("setting", ["few_shot", "few_shot_0", "few_shot_17", "few_shot_99999"])
def test_a_number_out_of_bounds_is_refused_with_the_bounds(setting: str) -> None:
    with pytest.raises(ValueError, match=f"'{setting}': its number must be from 1 to 16, for example few_shot_2"):
        check_setting(setting)


@pytest.mark.parametrize("setting", ["few_shot_", "few_shot_04", "few_shot_-1", "few_shot_x", "fewshot_4"])
def test_a_number_that_is_none_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=r"unknown setting .* Allowed: zero_shot, .*few_shot_<k>"):
        check_setting(setting)


def test_few_shot_builds_on_zero_shot_or_on_text_only_for_the_blind() -> None:
    assert (shots("few_shot_16"), shots("zero_shot")) == (16, 0)
    assert base_setting("few_shot_4") == "zero_shot"
    assert base_setting("few_shot_4", sees_pictures=False) == "text_only"
    assert base_setting("image_only", sees_pictures=False) == "image_only"
