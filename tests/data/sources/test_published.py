"""Every published mapping on a fixture in its known or assumed layout."""

import pytest

from mmsoc_ray.data.sources import load_mapping, published_mappings
from mmsoc_ray.tasks import TASKS

SPLITS = ("train", "train", "validation", "test")


def hf_picture(small, number):
    return {"bytes": small(number), "path": f"{number}.png"}


def memotion_labels(number, humor="humor", sentiment="sentiment"):
    return {
        "text_ocr": f"WORDS {number}",
        "text_corrected": f"words {number}",
        humor: ("hilarious", "very_funny", "funny", "not_funny")[number % 4],
        "sarcasm": ("general", "twisted_meaning", "very_twisted", "not_sarcastic")[number % 4],
        "offensive": ("slight", "very_offensive", "hateful_offensive", "not_offensive")[number % 4],
        "motivational": "motivational",
        sentiment: ("very_negative", "negative", "neutral", "very_positive")[number % 4],
    }


def write_memotion(source, small):
    rows = [
        {"image": hf_picture(small, n), **memotion_labels(n), "split": ("train", "train", "val", "test")[n % 4]}
        for n in range(8)
    ]
    source.table("data/train-00000-of-00002.parquet", rows[:5])
    source.table("data/train-00001-of-00002.parquet", rows[5:])


def write_memotion_7k(source, small):
    rows = [
        {"": n, "image_name": f"image_{n}.png", **memotion_labels(n, "humour", "overall_sentiment")} for n in range(10)
    ]
    source.table("labels.csv", rows)
    for n in range(10):
        source.write(f"images/image_{n}.png", small(n))


def write_labelled_parquet(source, small):
    rows = [{"image": hf_picture(small, n), "text": f"text {n}", "label": n % 2, "split": SPLITS[n]} for n in range(4)]
    source.table("data/train-00000-of-00001.parquet", rows)


def write_hateful_memes_challenge(source, small):
    for file, numbers in (("train.jsonl", (1, 2)), ("dev.jsonl", (3,))):
        source.table(file, [{"id": n, "img": f"img/0{n}.png", "label": n % 2, "text": f"t {n}"} for n in numbers])
    for n in (1, 2, 3):
        source.write(f"img/0{n}.png", small(n))


def write_youtube(source, small):
    rows = [
        {
            "image": hf_picture(small, n),
            "title": f"title {n}",
            "description": f"about {n}",
            "topics": ["Music", f"Topic {n}"],
            "split": SPLITS[n % 4],
        }
        for n in range(10)
    ]
    source.table("data/train-00000-of-00001.parquet", rows)


def write_youtube_sheet(source, small):
    rows = [{"video_id": f"v{n}", "title": f"title {n}", "description": "", "topics": "Music, Jazz"} for n in range(10)]
    source.table("videos.csv", rows)
    for n in range(10):
        source.write(f"thumbnails/v{n}.jpg", small(n))


def write_fakenewsnet(source, small):
    for name in ("gossipcop", "politifact"):
        for label in ("fake", "real"):
            ids = "\t".join(["123456789"] * 20_000)
            row = {"id": f"{name}-{label}", "news_url": "example.com/a", "title": f"{label} news", "tweet_ids": ids}
            source.table(f"{name}_{label}.csv", [row])
            source.write(f"images/{name}-{label}.jpg", small(3))


WRITERS = {
    "fakenewsnet_gossipcop": write_fakenewsnet,
    "fakenewsnet_politifact": write_fakenewsnet,
    "gossipcop": write_labelled_parquet,
    "hateful_memes": write_labelled_parquet,
    "hateful_memes_challenge": write_hateful_memes_challenge,
    "memotion": write_memotion,
    "memotion_7k": write_memotion_7k,
    "politifact": write_labelled_parquet,
    "youtube2000": write_youtube,
    "youtube2m": write_youtube,
    "youtube_sheet": write_youtube_sheet,
}


def test_every_published_mapping_has_a_fixture():
    assert sorted(WRITERS) == published_mappings()


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_published_layout_becomes_shards_the_same_bytes_twice(name, source, small):
    WRITERS[name](source, small)
    prepared = source.prepare(name)
    assert prepared.report.dropped.total() == 0
    assert prepared.report.kept.total() == prepared.report.read > 0
    first = source.output_bytes()
    source.prepare(name)
    assert source.output_bytes() == first
    mapping = load_mapping(name)
    for manifest in prepared.manifests:
        assert manifest.tasks == dict.fromkeys(sorted(mapping.targets), manifest.posts)
        for post in source.posts(mapping.dataset, manifest.split):
            assert post.image is not None
            for task, references in post.targets.items():
                assert not TASKS[task].labels or set(references) <= set(TASKS[task].labels)


def test_memotion_has_the_merged_labels_and_the_splits_of_its_column(source, small):
    write_memotion(source, small)
    prepared = source.prepare("memotion")
    assert prepared.report.kept == {"train": 4, "validation": 2, "test": 2}
    first, _ = source.posts("memotion", "train")[:2]
    assert first.transcription == "words 0"
    assert first.text is None
    assert dict(first.targets) == {
        "humor": ("humorous",),
        "sarcasm": ("sarcastic",),
        "offensiveness": ("offensive",),
        "sentiment": ("negative",),
        "ocr": ("words 0",),
    }
    assert source.posts("memotion", "test")[0].targets["humor"] == ("not_humorous",)


def test_memotion_7k_is_cut_in_file_order(source, small):
    write_memotion_7k(source, small)
    assert source.prepare("memotion_7k").report.kept == {"train": 8, "validation": 1, "test": 1}
    assert [post.sample_id for post in source.posts("memotion", "test")] == ["image_9.png"]


def test_gossipcop_takes_1_for_fake(source, small):
    write_labelled_parquet(source, small)
    source.prepare("gossipcop")
    assert [post.targets["misinformation"] for post in source.posts("gossipcop", "train")] == [("true",), ("fake",)]


def test_fakenewsnet_takes_the_label_from_the_file(source, small):
    write_fakenewsnet(source, small)
    source.prepare("fakenewsnet_politifact")
    assert [(p.sample_id, p.text, p.targets["misinformation"]) for p in source.posts("politifact")] == [
        ("politifact-fake", "fake news", ("fake",)),
        ("politifact-real", "real news", ("true",)),
    ]


def test_a_video_has_title_and_description_as_its_text_and_a_list_of_tags(source, small):
    write_youtube(source, small)
    source.prepare("youtube2000")
    post = source.posts("youtube2000")[0]
    assert post.text == "title 3\nabout 3"
    assert post.targets["tagging"] == ("Music", "Topic 3")


def test_a_sheet_of_videos_has_its_tags_in_one_text(source, small):
    write_youtube_sheet(source, small)
    source.prepare("youtube_sheet")
    assert source.posts("youtube2000")[0].targets["tagging"] == ("Music", "Jazz")
