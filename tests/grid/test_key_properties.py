"""Keys through the real preparation of units: what changes exactly which of them, and what changes none."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.data import Post, Unit, open_storage, plan_units, read_unit, write_split
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.plan import Adapter, Question
from mmsoc_ray.grid.prepare import Words, prepare_unit
from mmsoc_ray.models import ModelEntry
from mmsoc_ray.models.entry import Decoding
from mmsoc_ray.tasks import Example, classification, get_task

MODEL = Answerer(
    ModelEntry("m", "f", 0.1, "transformers", sees_pictures=True, max_picture_side=16), "float32", "digest", {}, 0
)
BASELINE = Answerer(ModelEntry("random", "baseline", 0, "baseline"), None, "", {"toy_memes": "fit"}, 0)
UNIT = Unit("toy_memes-test-00000-00000", "toy_memes", "test", "shard", 0, 4)
OWN = classification("own", "Is it?", ("a", "b"), description="d", source="s")
SETTINGS = ("zero_shot", "text_only", "few_shot_1", "with_ocr", "self_improve_1")
QUESTIONS = tuple(
    Question(task, setting, "toy_memes", "official", 8, examples=shown, own=OWN if task == "own" else None)
    for task in ("humor", "sarcasm", "own")
    for setting in SETTINGS
    for shown in [(Example("e", "shown", "humorous"),) if setting == "few_shot_1" else ()]
)
WITH_PICTURE = {"zero_shot", "few_shot_1", "with_ocr", "self_improve_1"}

Identity = tuple[str, str, str]
numbers = st.integers(0, 2**30)
post_lists = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4)
questions = st.sampled_from(range(len(QUESTIONS)))


@pytest.fixture(scope="module")
def make_posts(make_picture):
    """Make posts from pairs of a picture's number and a text's."""
    pictures = {number: make_picture(number) for number in range(5)}

    def made(content: Sequence[tuple[int, int]]) -> list[Post]:
        targets = {"humor": ("humorous",), "sarcasm": ("sarcastic",), "own": ("a",)}
        return [
            Post(f"p{n}", "toy_memes", "test", pictures[picture], f"caption {text}", targets=targets)
            for n, (picture, text) in enumerate(content)
        ]

    return made


def words(_: Any, posts: Sequence[Post]) -> list[Words]:
    return [Words("read words") for _ in posts]


def keys_of(
    posts: Sequence[Post], asked: Sequence[Question] = QUESTIONS, answerer: Answerer = MODEL, **layout: Any
) -> dict[Identity, str]:
    """Return the key of every request; with a layout, after the posts went through shards and units."""
    prepared = [
        prepare_unit(unit, unit_posts, asked, answerer, words)
        for unit, unit_posts in (_through_shards(posts, **layout) if layout else [(UNIT, posts)])
    ]
    rows = [request for unit in prepared for request in unit.requests]
    keys = {(row["post_key"], row["task"], row["setting"]): row["row_key"] for row in rows}
    assert len(keys) == len(rows)
    return keys


def _through_shards(
    posts: Sequence[Post], posts_per_unit: int = 2, limit: int | None = None
) -> list[tuple[Unit, list[Post]]]:
    with tempfile.TemporaryDirectory() as folder:
        data = open_storage(folder)
        manifest = write_split(data, "toy_memes", "test", posts, posts_per_unit=posts_per_unit)
        return [(unit, read_unit(data, unit)) for unit in plan_units(manifest, limit=limit)]


def changed(old: Mapping[Identity, str], new: Mapping[Identity, str]) -> set[Identity]:
    assert old.keys() == new.keys()
    return {identity for identity in old if old[identity] != new[identity]}


def with_question(at: int, **fields: Any) -> tuple[Question, ...]:
    return tuple(replace(q, **fields) if number == at else q for number, q in enumerate(QUESTIONS))


@given(post_lists, numbers)
def test_another_picture_changes_the_keys_of_its_post_where_it_is_shown(make_posts, content, which):
    at = which % len(content)
    other = [(4 if n == at else picture, text) for n, (picture, text) in enumerate(content)]
    found = changed(keys_of(make_posts(content)), keys_of(make_posts(other)))
    assert found == {(f"toy_memes/test/p{at}", q.task, q.setting) for q in QUESTIONS if q.setting in WITH_PICTURE}


@given(post_lists, numbers)
def test_another_text_changes_the_keys_of_its_post_where_it_is_told(make_posts, content, which):
    at = which % len(content)
    other = [(picture, 9 if n == at else text) for n, (picture, text) in enumerate(content)]
    found = changed(keys_of(make_posts(content)), keys_of(make_posts(other)))
    told = {"text_only", "with_ocr"}
    assert found == {(f"toy_memes/test/p{at}", q.task, q.setting) for q in QUESTIONS if q.setting in told}


@given(
    post_lists,
    questions,
    st.sampled_from([{"max_new_tokens": 9}, {"scored": True}, {"examples": (Example("f", "other", "humorous"),)}]),
)
def test_another_limit_scoring_or_example_changes_the_keys_of_its_question(make_posts, content, at, change):
    posts = make_posts(content)
    found = changed(keys_of(posts), keys_of(posts, with_question(at, **change)))
    question = QUESTIONS[at]
    assert found == {(post.post_key, question.task, question.setting) for post in posts}


@given(post_lists, questions, st.sampled_from(["digest", "other"]))
def test_an_adapter_changes_the_keys_of_its_question_and_of_no_other(make_posts, content, at, digest):
    posts = make_posts(content)
    plain, question = keys_of(posts), QUESTIONS[at]
    adapted = keys_of(posts, with_question(at, adapter=Adapter("tuned", digest)))
    assert changed(plain, adapted) == {(post.post_key, question.task, question.setting) for post in posts}
    renamed = keys_of(posts, with_question(at, adapter=Adapter("another-name", digest)))
    assert renamed == adapted
    assert changed(adapted, keys_of(posts, with_question(at, adapter=Adapter("tuned", "third")))) == changed(
        plain, adapted
    )


@given(post_lists)
def test_an_adapter_has_the_same_keys_beside_its_base_and_merged(make_posts, content):
    posts = make_posts(content)
    asked = tuple(replace(q, adapter=Adapter("tuned", "weights")) for q in QUESTIONS if q.setting == "zero_shot")
    merged = replace(MODEL, adapters={"tuned": "weights"}, merged=True)
    assert keys_of(posts, asked, replace(MODEL, adapters={"tuned": "weights"})) == keys_of(posts, asked, merged)


@given(post_lists)
def test_another_prompt_changes_the_keys_of_its_task(make_posts, content):
    posts = make_posts(content)
    asked = tuple(replace(q, variant="tweet") if q.task == "sarcasm" else q for q in QUESTIONS)
    found = changed(keys_of(posts), keys_of(posts, asked))
    assert found == {(post.post_key, "sarcasm", setting) for post in posts for setting in SETTINGS}


@pytest.mark.parametrize("scored", [False, True])
@given(content=post_lists)
def test_other_labels_change_the_keys_of_their_task_where_they_are_scored(make_posts, scored, content):
    posts = make_posts(content)
    other = replace(OWN, labels=("a", "c"), answers={"a": "a", "c": "c"})
    ours = [replace(q, scored=scored) for q in QUESTIONS]
    found = changed(keys_of(posts, ours), keys_of(posts, [replace(q, own=other) if q.own else q for q in ours]))
    assert found == {(post.post_key, "own", setting) for post in posts for setting in SETTINGS if scored}


@pytest.mark.parametrize(
    "other",
    [
        replace(MODEL, model_digest="other"),
        replace(MODEL, dtype="bfloat16"),
        *(
            replace(MODEL, entry=replace(MODEL.entry, **change))
            for change in (
                {"engine": "vllm"},
                {"max_picture_side": 17},
                {"prompt_template": "{image}{prompt}"},
                {"decoding": Decoding(num_beams=2)},
                {"decoding": Decoding(repetition_penalty=1.5)},
                {"decoding": Decoding(length_penalty=0.5)},
                {"decoding": Decoding(min_length=3)},
                {"decoding": Decoding(temperature=0.7)},
            )
        ),
    ],
)
@given(content=post_lists)
def test_whatever_else_answers_changes_every_key(make_posts, other, content):
    posts = make_posts(content)
    plain = keys_of(posts)
    assert changed(plain, keys_of(posts, answerer=other)) == set(plain)


@pytest.mark.parametrize(
    "change", [{"temperature": 0.8}, {"top_p": 0.8}, {"top_k": 9}, {"seed": 2}, {"temperature": 0.0, "seed": 0}]
)
@given(content=post_lists)
def test_whatever_shapes_a_sampled_answer_changes_every_key(make_posts, change, content):
    posts, sampled = make_posts(content), Decoding(temperature=0.7, seed=1)
    plain, other = (
        keys_of(posts, answerer=replace(MODEL, entry=replace(MODEL.entry, decoding=decoding)))
        for decoding in (sampled, replace(sampled, **change))
    )
    assert changed(plain, other) == set(plain)


@given(post_lists, st.permutations(range(4)), st.permutations(range(len(QUESTIONS))), st.integers(1, 5))
def test_order_units_and_names_change_no_key(make_posts, content, order, questions_order, posts_per_unit):
    posts = make_posts(content)
    renamed = replace(MODEL, seed=7, entry=replace(MODEL.entry, name="other", family="g", batch_tokens=1))
    shuffled = [posts[n] for n in order if n < len(posts)]
    asked = [QUESTIONS[n] for n in questions_order]
    assert keys_of(shuffled, asked, renamed, posts_per_unit=posts_per_unit) == keys_of(posts)


@given(post_lists, st.integers(1, 4))
def test_a_limit_leaves_out_posts_and_changes_no_key(make_posts, content, limit):
    posts = make_posts(content)
    kept = {post.post_key for post in posts[:limit]}
    assert keys_of(posts, limit=limit) == {i: key for i, key in keys_of(posts).items() if i[0] in kept}


@given(post_lists)
def test_equal_posts_have_equal_keys_and_others_have_not(make_posts, content):
    keys = keys_of(make_posts(content), QUESTIONS[3:4])
    same = dict(zip(content, keys.values(), strict=True))
    assert len(set(same.values())) == len(same)
    assert [same[pair] for pair in content] == list(keys.values())


@pytest.mark.parametrize("other", [replace(BASELINE, seed=1), replace(BASELINE, fit={"toy_memes": "other"})])
@given(content=post_lists)
def test_other_fit_data_or_seed_change_every_key_of_a_baseline(make_posts, other, content):
    asked = [q for q in QUESTIONS if q.setting == "zero_shot"]
    plain = keys_of(make_posts(content), asked, BASELINE)
    assert changed(plain, keys_of(make_posts(content), asked, other)) == set(plain)


@given(post_lists)
def test_what_an_own_task_answers_with_changes_its_keys_of_a_baseline(make_posts, content):
    posts = make_posts(content)
    asked = [q for q in QUESTIONS if q.setting == "zero_shot"]
    other = replace(OWN, answers={"a": "yes", "b": "no"})
    found = changed(
        keys_of(posts, asked, BASELINE),
        keys_of(posts, [replace(q, own=other) if q.own else q for q in asked], BASELINE),
    )
    assert found == {(post.post_key, "own", "zero_shot") for post in posts}


def test_the_built_in_tasks_of_these_tests_tell_no_text_in_zero_shot():
    assert not any(get_task(task).uses_text for task in ("humor", "sarcasm"))
