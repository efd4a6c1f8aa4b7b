"""Self-improvement: a model's answer is given back to it, and the question is asked again."""

from __future__ import annotations


def improve_prompt(prompt: str, question: str, previous: str) -> str:
    """Return the prompt of a further round.

    MM-Soc's code gives earlier answers back in a context string; its wording was NOT FOUND, so this one is ours: the
    whole prompt of round 0, the model's last answer, and the question again. Only the last answer is given back. What
    comes before that answer is the same in every round, so an engine that shares prefixes computes it once a round.

    Args:
        prompt: What was asked in round 0.
        question: The question alone.
        previous: What the model answered in the round before.
    """
    return f"{prompt}\n\nYour previous answer: {previous.strip()}\n\n{question}"
