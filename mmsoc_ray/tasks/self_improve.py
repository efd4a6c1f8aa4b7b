"""Self-improvement: a model's answer is given back to it, and the question is asked again."""

from __future__ import annotations


def improve_prompt(prompt: str, question: str, previous: str) -> str:
    """Return the prompt of a further round.

    This wording is ours: the whole prompt of round 0, the model's last answer, and the question again. MM-Soc's runner
    of rounds was NOT FOUND; a comment in its ``blip.py`` puts all earlier questions and answers before the question as
    "Question: ... Answer: ...", which is BLIP-2's form and grows with each round. Here only the last answer is given
    back, and what comes before it is the same in every round, so an engine that shares prefixes computes it once.

    Args:
        prompt: What was asked in round 0.
        question: The question alone.
        previous: What the model answered in the round before.
    """
    return f"{prompt}\n\nYour previous answer: {previous.strip()}\n\n{question}"
