import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.grid.keys import canonical_json, differences, digest, row_key

TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
MODEL = {"engine": "transformers", "model_digest": "m", "adapter_digest": None, "dtype": "float32"}
BASELINE = {"engine": "baseline", "model": "majority", "fit": "f", "seed": 0}
ASKED = {"task": "humor", "prompt": "Is it?", "image_sha256": "i", "max_new_tokens": 8}


@given(st.dictionaries(TEXTS, JSON, max_size=6), st.randoms())
def test_the_order_of_fields_does_not_enter_a_digest(value, random):
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert canonical_json(dict(shuffled)) == canonical_json(value)
    assert digest(dict(shuffled)) == digest(value)


@given(JSON)
def test_canonical_json_is_ascii_without_spaces_and_reads_back(value):
    text = canonical_json(value).decode("ascii")
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text.encode()


@given(JSON, JSON)
def test_different_values_have_different_texts(one, other):
    # JSON tells 1 from 1.0 and from true, which Python's equality does not.
    assert (canonical_json(one) == canonical_json(other)) == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return sorted((key, repr(_sorted(inner))) for key, inner in value.items()), "mapping"
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value


def test_a_number_that_json_lacks_is_refused():
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_a_lone_surrogate_of_a_broken_text_has_a_digest():
    assert digest({"prompt": "\ud800"}) != digest({"prompt": "\ud801"})


@given(st.sampled_from(["prompt", "image_sha256"]), st.text(min_size=1, max_size=30))
def test_a_row_key_changes_with_what_is_asked(field, change):
    assert row_key(MODEL, **{**ASKED, field: ASKED[field] + change}) != row_key(MODEL, **ASKED)


@given(st.integers(1, 4096))
def test_a_row_key_changes_with_where_the_answer_is_cut(max_new_tokens):
    same = row_key(MODEL, **{**ASKED, "max_new_tokens": max_new_tokens}) == row_key(MODEL, **ASKED)
    assert same == (max_new_tokens == ASKED["max_new_tokens"])


@pytest.mark.parametrize("field", list(MODEL))
def test_a_row_key_changes_with_each_part_of_what_answers(field):
    assert row_key({**MODEL, field: "other"}, **ASKED) != row_key(MODEL, **ASKED)
    assert row_key({**MODEL, "further": None}, **ASKED) != row_key(MODEL, **ASKED)


def test_a_row_key_changes_with_the_labels_that_are_scored():
    keys = [row_key(MODEL, **ASKED, labels=labels) for labels in (None, {"a": "yes"}, {"a": "no"}, {"b": "yes"})]
    assert len(set(keys)) == 4
    assert keys[0] == row_key(MODEL, **ASKED)


def test_no_picture_is_another_question_than_any_picture():
    assert row_key(MODEL, **{**ASKED, "image_sha256": None}) != row_key(MODEL, **{**ASKED, "image_sha256": ""})


def test_text_cannot_move_from_one_ingredient_to_another():
    assert row_key(MODEL, **{**ASKED, "prompt": "Is it?i", "image_sha256": ""}) != row_key(MODEL, **ASKED)


def test_a_models_key_does_not_tell_tasks_apart_that_ask_the_same():
    assert row_key(MODEL, **{**ASKED, "task": "sarcasm"}) == row_key(MODEL, **ASKED)


def test_a_baselines_key_changes_with_task_fit_and_seed():
    keys = {
        row_key(BASELINE, **ASKED),
        row_key(BASELINE, **{**ASKED, "task": "sarcasm"}),
        row_key({**BASELINE, "fit": "g"}, **ASKED),
        row_key({**BASELINE, "seed": 1}, **ASKED),
    }
    assert len(keys) == 4


def test_keys_of_this_version_stay_as_they_are():
    # A changed key makes every stored answer unknown: change it knowingly, and with it this line.
    assert row_key(MODEL, **ASKED) == "82f7f4fcc17036ab9e963d8a8658ecc89943af4a08d141ad4f8f6fa2dc42324c"
    assert row_key(BASELINE, **ASKED) == "d9515cc0bae21b0f795ec5e7de59f1856b8a9a5cb4b00702a9825fa9c81ebceb"


@given(st.dictionaries(TEXTS, JSON, max_size=5))
def test_a_value_differs_from_itself_in_nothing(value):
    assert differences(value, json.loads(canonical_json(value))) == []


def test_differences_name_field_old_and_new():
    old = {"limit": None, "models": {"a": {"units": 3}, "b": {}}, "seed": 0}
    new = {"limit": 5, "models": {"a": {"units": 4}, "c": {}}, "seed": 0}
    assert differences(old, new) == [
        "limit: null -> 5",
        "models.a.units: 3 -> 4",
        "models.b: {} -> (absent)",
        "models.c: (absent) -> {}",
    ]


def test_a_long_value_is_cut_in_a_difference():
    (line,) = differences({"prompt": "a" * 500}, {"prompt": "b"})
    assert len(line) < 150
    assert line.endswith('... -> "b"')


@given(st.dictionaries(TEXTS, JSON, max_size=4), st.dictionaries(TEXTS, JSON, max_size=4))
def test_unequal_values_differ_in_something(old, new):
    assert bool(differences(old, new)) == (old != new)
