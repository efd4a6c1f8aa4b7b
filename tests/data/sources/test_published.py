"""Every published mapping on a fixture in its known or assumed layout."""

import pytest
from layouts import (
    PUBLISHED,
    write_fakenewsnet,
    write_fakenewsnet_multimodal,
    write_labelled_parquet,
    write_memotion,
    write_memotion_7k,
    write_youtube,
    write_youtube_sheet,
)

from mmsoc_ray.data.sources import load_mapping, published_mappings
from mmsoc_ray.tasks import TASKS


def test_every_published_mapping_has_a_fixture():
    assert sorted(PUBLISHED) == published_mappings()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_layout_becomes_shards_the_same_bytes_twice(name, source, small):
    PUBLISHED[name](source, small)
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


def test_memotion_7k_is_the_same_from_either_of_its_tables(source, small):
    write_memotion_7k(source, small)
    shards = []
    for name in ("memotion_7k", "memotion_7k_xlsx"):
        source.prepare(name)
        shards.append({name: data for name, data in source.output_bytes().items() if name.endswith(".parquet")})
    assert shards[0] == shards[1]


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


@pytest.mark.parametrize("dataset", ["gossipcop", "politifact"])
def test_the_tables_of_mm_soc_say_1_for_true_news_and_keep_a_folder_of_pictures_for_each_split(source, small, dataset):
    write_fakenewsnet_multimodal(source, small)
    source.prepare(f"fakenewsnet_multimodal_{dataset}")
    (train,), (test,) = source.posts(dataset, "train"), source.posts(dataset, "test")
    assert (train.text, train.image, train.targets["misinformation"]) == ("train news", small(1), ("true",))
    assert (test.text, test.image, test.targets["misinformation"]) == ("test news", small(0), ("fake",))


@pytest.mark.parametrize("name", published_mappings())
def test_every_published_mapping_has_a_note_on_its_licence(name):
    assert load_mapping(name).licence


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
