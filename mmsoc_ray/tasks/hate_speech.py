"""Hate speech: is a meme hateful?"""

from mmsoc_ray.tasks.classification import classification

HATE_SPEECH = classification(
    "hate_speech",
    "Is this meme hateful? Answer 'Yes' or 'No'.",
    ("hateful", "not_hateful"),
    answers={"hateful": "Yes", "not_hateful": "No"},
    positive="hateful",
    synonyms={"hateful": ("hate speech",)},
    description="Decides whether a meme is hateful.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; Hateful Memes",
)
