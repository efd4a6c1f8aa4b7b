"""How far answers move away from the reference when they are given over and over."""

from __future__ import annotations

from collections.abc import Sequence


def drift(first: Sequence[float], later: Sequence[float]) -> float:
    """Return by how much the mean agreement with the reference fell since round 0; negative where it rose.

    Ours: MM-Soc reports a "gradual divergence from the ground truth over successive iterations", its measure was not
    found.

    Args:
        first: Agreement of each post's answer in round 0, from 0 to 1.
        later: Agreement in a later round, in the same order of posts.

    Raises:
        ValueError: The two are not of one length.
    """
    if len(first) != len(later):
        raise ValueError(f"{len(first)} posts in round 0, but {len(later)} in the later round")
    falls = [before - after for before, after in zip(first, later, strict=True)]
    return sum(falls) / len(falls) if falls else float("nan")
