"""Answers that come with an explanation: what of them is the answer."""

from __future__ import annotations

EXPLANATION_MARK = "\nExplanation:"
"""Stands between answer and explanation where a model has learnt to give both
(``mmsoc_ray.training.targets.TEMPLATES``)."""


def without_explanation(output: str) -> str:
    """Return an answer without what follows ``EXPLANATION_MARK``.

    The explanation would be read as part of the answer: its words overlap with references, and may name other labels.
    An answer that the limit has cut before the mark, or that never had one, comes back as it is.
    """
    return output.partition(EXPLANATION_MARK)[0]
