import json

import pytest

from mmsoc_ray.data.twitter_sarcasm import twitter_sarcasm_posts
from mmsoc_ray.errors import ConfigurationError


def published(folder, *, labels=(1, 0), images=("a.jpg", "b.jpg"), texts=("so great .", "so great .")):
    wrapped = [
        {"question id": number, "image": image, "text": f'Based on "{text}"', "label": label}
        for number, (image, text, label) in enumerate(zip(("a.jpg", "b.jpg"), texts, labels, strict=True), start=1)
    ]
    (folder / "sarcasm_test.json").write_text(json.dumps(wrapped))
    rows = [
        {"question_id": str(number), "image_id": image, "text": text}
        for number, (image, text) in enumerate(zip(images, texts, strict=True), start=1)
    ]
    (folder / "sarcasm_keyinfo_test.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")


def test_each_tweet_keeps_its_own_row_though_texts_repeat(tmp_path):
    published(tmp_path)
    posts = list(twitter_sarcasm_posts(tmp_path, "test"))
    assert [(p.sample_id, p.text, p.targets["sarcasm"]) for p in posts] == [
        ("1", "so great .", ("sarcastic",)),
        ("2", "so great .", ("not_sarcastic",)),
    ]


def test_files_that_do_not_belong_together_are_refused_with_the_row(tmp_path):
    published(tmp_path, images=("a.jpg", "other.jpg"))
    with pytest.raises(ConfigurationError, match=r"sarcasm_keyinfo_test\.jsonl: row 2 has no matching label"):
        list(twitter_sarcasm_posts(tmp_path, "test"))


def test_an_unknown_label_is_refused(tmp_path):
    published(tmp_path, labels=(1, 7))
    with pytest.raises(ConfigurationError, match="row 2"):
        list(twitter_sarcasm_posts(tmp_path, "test"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"sarcasm_test\.json: cannot be read"):
        list(twitter_sarcasm_posts(tmp_path, "test"))


def test_an_unknown_split_is_refused_with_the_allowed_ones(tmp_path):
    with pytest.raises(ConfigurationError, match="Allowed: validation, test"):
        list(twitter_sarcasm_posts(tmp_path, "train"))
