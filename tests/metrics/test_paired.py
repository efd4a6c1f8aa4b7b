from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmsoc_ray.metrics import bootstrap_p, mcnemar_exact

counts = st.integers(0, 40)


@given(counts, counts)
def test_mcnemar_counts_the_outcomes_that_are_no_likelier(only_first, only_second):
    apart = only_first + only_second
    observed = comb(apart, only_first)
    as_unlikely = sum(comb(apart, k) for k in range(apart + 1) if comb(apart, k) <= observed)
    assert mcnemar_exact(only_first, only_second) == pytest.approx(as_unlikely / 2**apart)


@given(counts, counts)
def test_mcnemar_does_not_care_who_is_first(only_first, only_second):
    assert mcnemar_exact(only_first, only_second) == mcnemar_exact(only_second, only_first)


def test_mcnemar_is_the_sign_flipping_permutation_test_of_accuracy():
    generator = np.random.default_rng(0)
    first, second = generator.random(12) < 0.8, generator.random(12) < 0.4
    flipped = stats.permutation_test(
        (first.astype(float), second.astype(float)),
        lambda one, two, axis: np.mean(one - two, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert mcnemar_exact(int((first & ~second).sum()), int((second & ~first).sum())) == pytest.approx(flipped.pvalue)


def test_posts_that_tell_nothing_apart_give_no_evidence():
    assert mcnemar_exact(0, 0) == 1.0


def test_the_bootstrap_p_is_twice_the_smaller_side():
    differences = np.array([-1.0] * 3 + [1.0] * 96)
    assert bootstrap_p(differences) == pytest.approx(2 * (3 + 1) / (99 + 1))
    assert bootstrap_p(-differences) == bootstrap_p(differences)


def test_the_bootstrap_p_is_never_0_and_at_most_1():
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(999)) == 1.0
    assert np.isnan(bootstrap_p([np.nan]))


def test_the_bootstrap_p_agrees_with_the_paired_t_test_on_much_data():
    generator = np.random.default_rng(1)
    gains = generator.normal(0.1, 1.0, 400)
    means = [generator.choice(gains, len(gains)).mean() for _ in range(4000)]
    assert bootstrap_p(means) == pytest.approx(stats.ttest_1samp(gains, 0).pvalue, abs=0.02)
