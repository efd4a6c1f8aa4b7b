"""Sentiment: the overall sentiment of a meme."""

from mmsoc_ray.tasks.classification import classification

SENTIMENT = classification(
    "sentiment",
    # The official prompt has no final full stop.
    "What is the overall sentiment expressed through this meme? Answer 'positive' or 'neutral' or 'negative'",
    ("positive", "neutral", "negative"),
    description="Names the overall sentiment of a meme: positive, neutral or negative.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; Memotion",
)
