import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.grid import known_answers
from mmsoc_ray.grid.known_answers import FILES_OF_A_KEY, IndexFullError, KnownAnswers, key_prefixes


def key(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


@given(st.lists(st.lists(st.integers(0, 30), max_size=6), max_size=8), st.lists(st.integers(0, 40), unique=True))
def test_every_file_of_a_key_is_found_and_no_other(files, wanted):
    index = KnownAnswers(sum(map(len, files)))
    for number, keys in enumerate(files):
        index.add(f"runs/r{number // 3}/u{number}.parquet", [key(k) for k in keys])
    index.sort()
    expected = {
        f"runs/r{number // 3}/u{number}.parquet": [key(k) for k in wanted if k in keys]
        for number, keys in enumerate(files)
        if set(keys) & set(wanted)
    }
    assert index.files_of([key(k) for k in wanted]) == expected


def test_keys_with_the_same_first_bits_are_candidates_of_each_other():
    index = KnownAnswers(1)
    index.add("a/u", ["0123456789" + "a" * 54])
    index.sort()
    assert index.files_of(["0123456789" + "b" * 54]) == {"a/u": ["0123456789" + "b" * 54]}
    assert index.files_of(["012345678a" + "a" * 54]) == {}


def test_a_prefix_is_the_first_40_bits():
    assert key_prefixes(["ffeeddccbb" + "9" * 54, "0" * 64]).tolist() == [0xFFEEDDCCBB000000, 0]


def test_a_key_in_countless_files_names_a_bounded_number():
    index = KnownAnswers(1000)
    for number in range(1000):
        index.add(f"a/u{number}", [key(0)])
    index.sort()
    assert len(index.files_of([key(0)])) == FILES_OF_A_KEY


@pytest.mark.parametrize("keys", [["x" * 64], ["01234"]])
def test_what_is_no_key_is_refused_and_leaves_the_index_as_it_was(keys):
    index = KnownAnswers(2)
    with pytest.raises(ValueError):
        index.add("a/u", keys)
    assert len(index) == 0


def test_more_keys_than_planned_are_refused():
    index = KnownAnswers(1)
    with pytest.raises(IndexFullError, match="2 more keys, where its run has planned 1 at most"):
        index.add("a/u", [key(0), key(1)])
    assert len(index) == 0


def test_more_files_than_have_a_number_are_refused(monkeypatch):
    monkeypatch.setattr(known_answers, "MAX_FILES", 2)
    index = KnownAnswers(3)
    index.add("a/0", [key(0)])
    index.add("a/1", [key(1)])
    with pytest.raises(IndexFullError):
        index.add("a/2", [key(2)])


def test_the_index_takes_eight_bytes_a_key_and_sorts_in_place():
    index = KnownAnswers(1000)
    index.add_prefixes("a/u", np.arange(1000, 0, -1, dtype=np.uint64) << np.uint64(24))
    before = index._entries
    index.sort()
    assert index._entries is before
    assert before.nbytes == 8000
    assert (np.diff(before.astype(np.int64)) > 0).all()
