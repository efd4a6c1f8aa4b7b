"""Humor: is a meme humorous?"""

from mmsoc_ray.tasks.classification import classification

HUMOR = classification(
    "humor",
    "Is this meme humorous? Answer 'humorous' or 'not_humorous'.",
    ("humorous", "not_humorous"),
    positive="humorous",
    # Memotion's own grades of humor.
    synonyms={"humorous": ("funny", "hilarious")},
    description="Decides whether a meme is humorous.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; Memotion",
)
