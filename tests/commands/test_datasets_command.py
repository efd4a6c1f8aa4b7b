"""``mmsoc datasets``: what is known, and what is prepared."""

import shutil

import pytest

from mmsoc_ray.data.catalogue import catalogue
from mmsoc_ray.data.demo import DEMO_DATASETS
from mmsoc_ray.tasks import TASKS


def test_known_data_sets_cover_the_demo_and_mm_soc_with_tasks_that_exist():
    known = {dataset.name: dataset for dataset in catalogue()}
    assert {*DEMO_DATASETS, "memotion", "hateful_memes", "politifact", "gossipcop", "youtube2000", "youtube2m"} <= set(
        known
    )
    for dataset in known.values():
        assert dataset.tasks
        assert set(dataset.tasks) <= set(TASKS)
        assert dataset.licence
        assert dataset.source


def test_the_list_shows_tasks_source_and_licence_and_says_each_licence_once(mmsoc, capsys):
    assert mmsoc("datasets") == 0
    shown = capsys.readouterr().out
    assert "memotion\n  tasks    humor, sarcasm, offensiveness, sentiment, ocr\n" in shown
    assert shown.count("CC BY-SA 4.0 (https") == 1
    assert "  licence  as politifact" in shown


def test_prepared_splits_are_shown_with_their_counts(mmsoc, capsys, toy):
    assert mmsoc("datasets", "--data", toy.data) == 0
    shown = capsys.readouterr().out
    assert "toy_memes/test: 10 posts\n  targets  humor 10, sarcasm 10\n" in shown
    assert "toy_news/train: 4 posts\n" in shown
    assert "  licence  not recorded\n" in shown


def test_a_torn_split_does_not_hide_the_others(mmsoc, capsys, toy, tmp_path):
    shutil.copytree(toy.data, tmp_path / "data")
    (tmp_path / "data/toy_memes/test/manifest.json").write_text("{")
    assert mmsoc("datasets", "--data", tmp_path / "data") == 0
    shown = capsys.readouterr().out
    assert "toy_memes/test\n  cannot be used: " in shown
    assert "toy_news/test: 5 posts" in shown


@pytest.mark.parametrize("folder", ["", "absent"])
def test_a_root_without_a_prepared_split_ends_with_2_and_the_remedy(mmsoc, capsys, tmp_path, folder):
    assert mmsoc("datasets", "--data", tmp_path / folder) == 2
    assert "nothing is prepared there" in capsys.readouterr().err
