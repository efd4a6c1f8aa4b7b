import itertools
import random
import string

import pytest

from mmsoc_ray.data.demo import DEMO_DATASETS, DEMO_SPLITS, demo_dataset, demo_drafts
from mmsoc_ray.data.demo.lexicon import SLOTS, fillers
from mmsoc_ray.data.demo.news_texts import SLOTS as NEWS_SLOTS
from mmsoc_ray.data.demo.scenes import compositions
from mmsoc_ray.data.demo.templates import Template, fill, quota

TEMPLATES = [template for dataset in DEMO_DATASETS for template in demo_dataset(dataset).templates]
FORMS = [
    Template(f"{dataset}/reference/{split}", "reference", split, (form,))
    for dataset in DEMO_DATASETS
    for split, forms in demo_dataset(dataset).reference_forms.items()
    for form in forms
]


def _runs(template: Template, length: int, least_words: int) -> set[tuple[str, ...]]:
    """N-grams of a template's skeleton that hold at least so many fixed words."""
    words = template.skeleton()
    runs = {words[start : start + length] for start in range(len(words) - length + 1)}
    return {run for run in runs if sum(word != "_" for word in run) >= least_words}


def _across_splits(templates: list[Template]) -> list[tuple[Template, Template]]:
    return [(one, two) for one, two in itertools.combinations(templates, 2) if one.split != two.split]


def test_a_skeleton_keeps_words_and_marks_slots() -> None:
    template = Template("x", "x", "train", ("Oh great, {nuisance}!", "see {place2} at {hour}"))
    assert template.skeleton() == ("oh", "great", "_", "see", "_", "at", "_")


@pytest.mark.parametrize("templates", [TEMPLATES, FORMS], ids=["posts", "references"])
def test_no_three_fixed_words_in_a_row_stand_in_two_splits(templates: list[Template]) -> None:
    shared = [(one, two) for one, two in _across_splits(templates) if _runs(one, 3, 3) & _runs(two, 3, 3)]
    assert shared == []


@pytest.mark.parametrize("templates", [TEMPLATES, FORMS], ids=["posts", "references"])
def test_no_phrase_with_a_slot_stands_in_two_splits(templates: list[Template]) -> None:
    shared = [(one, two) for one, two in _across_splits(templates) if _runs(one, 4, 3) & _runs(two, 4, 3)]
    assert shared == []


def test_no_two_templates_of_different_splits_use_mostly_the_same_words() -> None:
    def likeness(one: Template, two: Template) -> float:
        first, second = set(one.skeleton()) - {"_"}, set(two.skeleton()) - {"_"}
        return len(first & second) / len(first | second)

    assert [(one, two) for one, two in _across_splits(TEMPLATES) if likeness(one, two) >= 0.4] == []


@pytest.mark.parametrize("dataset", DEMO_DATASETS)
def test_posts_use_the_templates_and_compositions_of_their_split_only(dataset: str) -> None:
    owner = {template.template_id: template.split for template in demo_dataset(dataset).templates}
    for split in DEMO_SPLITS:
        own = {f"{kind}+{arrangement}" for kind, arrangement in compositions(split)}
        for draft in demo_drafts(dataset, split):
            assert owner[draft.template_id] == split
            assert draft.composition in own


@pytest.mark.parametrize("dataset", DEMO_DATASETS)
def test_training_uses_all_of_its_templates(dataset: str) -> None:
    used = {draft.template_id for draft in demo_drafts(dataset, "train")}
    assert used == {template.template_id for template in demo_dataset(dataset).templates if template.split == "train"}


def test_compositions_of_splits_do_not_meet_and_leave_none_out() -> None:
    train, validation, test = (set(compositions(split)) for split in DEMO_SPLITS)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert len(train | validation | test) == 96


def test_every_split_sees_every_background_and_arrangement() -> None:
    for split in DEMO_SPLITS:
        assert len({kind for kind, _ in compositions(split)}) == 12
        assert len({arrangement for _, arrangement in compositions(split)}) == 8


def test_texts_have_no_open_slot_and_only_letters_that_the_font_has() -> None:
    allowed = set(string.ascii_letters + string.digits + " .,:;!?'\"-|\n")
    for dataset in DEMO_DATASETS:
        for split in DEMO_SPLITS:
            for draft in demo_drafts(dataset, split):
                assert set((draft.post.text or "") + (draft.post.transcription or "")) <= allowed


def test_a_slot_named_twice_gets_the_same_words() -> None:
    template = Template("x", "x", "train", ("{creature} and {creature}", "{creature2}"))
    filled = fill(template, SLOTS, random.Random("seed"))
    first, second = filled.parts[0].split(" and ")
    assert first.lower() == second
    assert filled.parts[1].lower() != second


def test_fillers_read_a_glyph_before_the_words() -> None:
    assert [(filler.glyph, filler.text) for filler in fillers("🐱 cat", "half past ten", "24")] == [
        ("🐱", "cat"),
        (None, "half past ten"),
        (None, "24"),
    ]


def test_slots_of_news_have_no_filler_twice() -> None:
    for listed in (*SLOTS.values(), *NEWS_SLOTS.values()):
        assert len(set(listed)) == len(listed)


def test_quota_shares_by_largest_remainder() -> None:
    shared = quota({"a": 2, "b": 1, "c": 1}, 10)
    assert [shared.count(kind) for kind in "abc"] == [5, 3, 2]
