from itertools import pairwise

import numpy as np

from mmsoc_ray.data.demo.lexicon import NOUNS
from mmsoc_ray.data.demo.scenes import compositions
from mmsoc_ray.training.projector_data import DESCRIBE, make_examples, thing_name, things, with_article

SPLITS = ("train", "validation", "unseen_glyphs")


def _examples(split, count=300):
    return make_examples(split, count, seed=0)


def _singles(split):
    return {(example.single, example.background.kind) for example in _examples(split) if example.single}


def test_the_same_seed_gives_the_same_examples_and_another_seed_others():
    assert make_examples("train", 20, 0) == make_examples("train", 20, 0)
    assert make_examples("train", 20, 0) != make_examples("train", 20, 1)


def test_more_examples_begin_with_the_fewer():
    assert make_examples("train", 20, 0)[:10] == make_examples("train", 10, 0)


def test_held_out_scenes_are_compositions_that_training_never_shows():
    shown = {example.scene.composition for example in _examples("train") if example.scene}
    held_out = {example.scene.composition for example in _examples("validation") if example.scene}
    assert shown
    assert held_out
    assert not shown & held_out


def test_the_demos_test_compositions_stay_unseen():
    kept = {f"{kind}+{arrangement}" for kind, arrangement in compositions("test")}
    for split in SPLITS:
        assert not kept & {example.scene.composition for example in _examples(split) if example.scene}


def test_held_out_singles_differ_in_glyph_or_background():
    assert not _singles("train") & _singles("validation")


def test_unseen_glyphs_occur_nowhere_else():
    unseen = {char for char, _ in _singles("unseen_glyphs")}
    seen = {char for split in ("train", "validation") for char, _ in _singles(split)} | set(NOUNS)
    assert unseen
    assert not unseen & seen


def test_the_answer_names_what_is_drawn():
    for example in _examples("train", 50):
        assert example.turns[0].question == DESCRIBE
        described = example.turns[0].answer.lower()
        assert all(word.lower() in described for word in example.words)


def test_drawing_is_deterministic():
    for example in make_examples("train", 4, 0):
        first, second = (np.asarray(example.draw()) for _ in range(2))
        assert first.shape == (448, 448, 3)
        assert np.array_equal(first, second)


def test_things_have_distinct_plain_names():
    names = [thing_name(char) for char in things()]
    assert len(names) > 500
    assert all(one != other for one, other in pairwise(sorted(names)))


def test_articles_follow_the_name():
    assert [with_article(name) for name in ("owl", "cat", "socks", "compass")] == [
        "an owl",
        "a cat",
        "socks",
        "a compass",
    ]
