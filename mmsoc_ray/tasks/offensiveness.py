"""Offensiveness: is a meme offensive?"""

from mmsoc_ray.tasks.classification import classification

OFFENSIVENESS = classification(
    "offensiveness",
    "Is this meme offensive? Answer 'offensive' or 'not_offensive'.",
    ("offensive", "not_offensive"),
    positive="offensive",
    description="Decides whether a meme is offensive.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; Memotion",
)
