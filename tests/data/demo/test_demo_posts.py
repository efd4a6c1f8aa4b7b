import hashlib
import io
import os
import subprocess
import sys

import pytest
from PIL import Image

from mmsoc_ray.data.demo import DEMO_DATASETS, DEMO_SPLITS, demo_dataset, demo_drafts, demo_explanations, demo_posts
from mmsoc_ray.data.posts import Post

EVERY = [(dataset, split) for dataset in DEMO_DATASETS for split in DEMO_SPLITS]
TEN_TASKS = {
    "misinformation",
    "hate_speech",
    "humor",
    "sarcasm",
    "offensiveness",
    "sentiment",
    "tagging",
    "ocr",
    "image_description",
    "social_context",
}
DIGEST = """
import hashlib
from mmsoc_ray.data.demo import DEMO_DATASETS, demo_explanations, demo_posts
digest = hashlib.sha256()
for dataset in DEMO_DATASETS:
    for row in (*demo_posts(dataset, "test"), *demo_explanations(dataset, "test")):
        digest.update(repr(row.to_row() if hasattr(row, "to_row") else row).encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def test_posts() -> list[Post]:
    return [post for dataset in DEMO_DATASETS for post in demo_posts(dataset, "test")]


def test_the_same_bytes_come_in_another_process(test_posts: list[Post]) -> None:
    digest = hashlib.sha256()
    for dataset in DEMO_DATASETS:
        posts = [post.to_row() for post in test_posts if post.dataset == dataset]
        for row in (*posts, *demo_explanations(dataset, "test")):
            digest.update(repr(row).encode())
    done = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={**os.environ, "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest.hexdigest()


def test_the_same_bytes_come_a_second_time(test_posts: list[Post]) -> None:
    def digest(posts: list[Post]) -> str:
        return hashlib.sha256("".join(repr(post.to_row()) for post in posts).encode()).hexdigest()

    assert digest(test_posts[:48]) == digest(list(demo_posts("demo_memes", "test")))


def test_pictures_decode_and_stay_small(test_posts: list[Post]) -> None:
    for post in test_posts:
        assert post.image is not None
        assert 10_000 < len(post.image) < 80_000
        with Image.open(io.BytesIO(post.image)) as picture:
            picture.load()
            assert 200 < min(picture.size) <= max(picture.size) < 1024


def test_no_two_test_pictures_are_the_same(test_posts: list[Post]) -> None:
    assert len({post.image for post in test_posts}) == len(test_posts)


@pytest.mark.parametrize(("split", "least"), [("train", 600), ("validation", 100), ("test", 120)])
def test_splits_are_large_enough(split: str, least: int) -> None:
    assert sum(1 for dataset in DEMO_DATASETS for _ in demo_drafts(dataset, split)) >= least


@pytest.mark.parametrize(("dataset", "split"), EVERY)
def test_sizes_are_as_declared_and_ids_and_texts_unique(dataset: str, split: str) -> None:
    posts = [draft.post for draft in demo_drafts(dataset, split)]
    assert len(posts) == demo_dataset(dataset).sizes[split]
    assert len({post.sample_id for post in posts}) == len(posts)
    assert len({(post.text, post.transcription) for post in posts}) == len(posts)
    assert {(post.dataset, post.split) for post in posts} == {(dataset, split)}


@pytest.mark.parametrize("split", DEMO_SPLITS)
def test_all_ten_tasks_have_targets(split: str) -> None:
    assert {
        task for dataset in DEMO_DATASETS for draft in demo_drafts(dataset, split) for task in draft.post.targets
    } == (TEN_TASKS)


@pytest.mark.parametrize(("dataset", "split"), EVERY)
def test_labels_stand_in_their_vocabulary(dataset: str, split: str) -> None:
    labels = demo_dataset(dataset).labels
    for draft in demo_drafts(dataset, split):
        assert set(draft.post.targets) == set(labels)
        for task, references in draft.post.targets.items():
            assert references
            assert len(set(references)) == len(references)
            assert not labels[task] or set(references) <= set(labels[task])
            assert not labels[task] or task == "tagging" or len(references) == 1


@pytest.mark.parametrize(("dataset", "split"), EVERY)
def test_every_label_of_a_classification_occurs_and_none_alone(dataset: str, split: str) -> None:
    posts = [draft.post for draft in demo_drafts(dataset, split)]
    for task, vocabulary in demo_dataset(dataset).labels.items():
        if vocabulary and task != "tagging":
            shares = [sum(post.targets[task] == (label,) for post in posts) / len(posts) for label in vocabulary]
            assert min(shares) > 0.15
            assert max(shares) < 0.85


def test_every_tag_is_trained_and_tested() -> None:
    for split in ("train", "test"):
        tags = {tag for draft in demo_drafts("demo_videos", split) for tag in draft.post.targets["tagging"]}
        assert tags == set(demo_dataset("demo_videos").labels["tagging"])


@pytest.mark.parametrize("split", DEMO_SPLITS)
def test_transcription_of_a_meme_is_its_ocr_target(split: str) -> None:
    for draft in demo_drafts("demo_memes", split):
        assert draft.post.targets["ocr"] == (draft.post.transcription,)
        assert draft.post.text is None


@pytest.mark.parametrize(("dataset", "split"), EVERY)
def test_every_label_is_explained_by_rule(dataset: str, split: str) -> None:
    explained = {(row.post_key, row.task) for row in demo_explanations(dataset, split) if row.explanation}
    labelled = {
        (draft.post.post_key, task)
        for draft in demo_drafts(dataset, split)
        for task, vocabulary in demo_dataset(dataset).labels.items()
        if vocabulary
    }
    assert explained == labelled
    assert {row.source for row in demo_explanations(dataset, split)} == {"rule"}


def test_an_unknown_dataset_is_refused_with_the_allowed_names() -> None:
    with pytest.raises(ValueError, match=r"demo_memse.*demo_memes"):
        demo_posts("demo_memse", "test")


def test_an_unknown_split_is_refused_with_the_allowed_names() -> None:
    with pytest.raises(ValueError, match=r"dev.*validation"):
        demo_posts("demo_news", "dev")
