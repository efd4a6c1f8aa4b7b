"""Misinformation: is a news item, picture and text, fake?"""

from mmsoc_ray.tasks.classification import classification

MISINFORMATION = classification(
    "misinformation",
    "Is this news (image-text pair) misinformation? Answer 'Yes' or 'No'.",
    ("fake", "true"),
    answers={"fake": "Yes", "true": "No"},
    positive="fake",
    # FAKE_WORDS and TRUE_WORDS of MM-Soc's const.py, and the word of the question.
    synonyms={"fake": ("false", "misinformation"), "true": ("real",)},
    uses_text=True,
    description="Decides whether a news item (picture and text) is fake or true.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; PolitiFact and GossipCop of FakeNewsNet",
)
