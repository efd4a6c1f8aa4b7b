"""Paired tests: whether two ways to answer the same posts differ by more than chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Posts that both get right, or both wrong, say nothing; of the others, each is as likely to be either's if neither is
    better (McNemar 1947, Psychometrika 12; exact by the binomial distribution).

    Args:
        only_first: Posts that only the first gets right.
        only_second: Posts that only the second gets right.

    Returns:
        The p-value; 1 where no post tells them apart.
    """
    apart = only_first + only_second
    return float(binomtest(only_first, apart).pvalue) if apart else 1.0


def bootstrap_p(differences: npt.ArrayLike) -> float:
    """Return the two-sided p-value of no difference, from the differences of paired resamples.

    Twice the smaller share of resamples on either side of 0, both sides counted with 0 and with one resample more
    (Efron and Tibshirani 1993, section 15.4; Davison and Hinkley 1997, equation 4.11): never 0, at most 1. It agrees
    with the percentile interval: below 0.05 where that at 95 % leaves 0 out.

    Args:
        differences: A difference for each resample; those that are not defined are left out.

    Returns:
        The p-value; NaN where no resample defines it.
    """
    defined = np.asarray(differences, np.float64)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return float("nan")
    beyond = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(defined) + 1))
