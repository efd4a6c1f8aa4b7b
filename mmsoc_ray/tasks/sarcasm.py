"""Sarcasm: is a meme, or a tweet, sarcastic?"""

from mmsoc_ray.tasks.classification import classification

SARCASM = classification(
    "sarcasm",
    "Is this meme sarcastic? Answer 'sarcastic' or 'not_sarcastic'.",
    ("sarcastic", "not_sarcastic"),
    positive="sarcastic",
    # For posts that are tweets (MIKO's sarcasm data, arXiv 2402.18169); the wording is ours.
    variants={"tweet": "Is this tweet sarcastic? Answer 'sarcastic' or 'not_sarcastic'."},
    text_variants=frozenset({"tweet"}),
    description="Decides whether a meme or, by the variant `tweet`, a tweet is sarcastic.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; Memotion",
)
