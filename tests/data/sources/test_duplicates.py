from mmsoc_ray.data.sources import duplicates
from mmsoc_ray.data.sources.duplicates import DIGEST_BYTES, Duplicates


def gathered(keys):
    found = Duplicates()
    for key in keys:
        found.gather(key)
    found.close()
    return found


def test_every_key_but_the_first_of_its_kind_was_met_before():
    keys = ["a", "b", "a", "c", "a", "b", ""]
    found = gathered(keys)
    assert [found.met_before(key) for key in keys] == [False, False, True, False, True, True, False]
    found.restart()
    assert [found.met_before(key) for key in keys] == [False, False, True, False, True, True, False]


def test_nothing_was_met_before_among_different_keys(monkeypatch):
    monkeypatch.setattr(duplicates, "STEP", 7)
    keys = [str(number) for number in range(100)]
    found = gathered(keys)
    assert not any(found.met_before(key) for key in keys)


def test_repeats_across_steps_are_found(monkeypatch):
    monkeypatch.setattr(duplicates, "STEP", 4)
    keys = [str(number % 13) for number in range(50)]
    found = gathered(keys)
    assert sum(found.met_before(key) for key in keys) == 50 - 13


def test_gathering_takes_16_bytes_a_key():
    found = Duplicates()
    for number in range(200_000):
        found.gather(str(number))
    assert found._digests.nbytes <= DIGEST_BYTES * (200_000 + duplicates.STEP)
