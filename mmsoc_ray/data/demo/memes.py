"""``demo_memes``: humor, sarcasm, offensiveness, sentiment, the words in the picture, and two descriptions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mmsoc_ray.data.demo.lexicon import SLOTS
from mmsoc_ray.data.demo.meme_texts import CAPTIONS
from mmsoc_ray.data.demo.pictures import Caption, encode_jpeg
from mmsoc_ray.data.demo.records import DemoDataset, Draft
from mmsoc_ray.data.demo.scenes import Scene, choose_scene
from mmsoc_ray.data.demo.templates import Filled, Template, quota, read_templates, write
from mmsoc_ray.data.posts import Post

NAME = "demo_memes"
SIZES = {"train": 320, "validation": 40, "test": 48}
LABELS: Mapping[str, tuple[str, ...]] = {
    "humor": ("humorous", "not_humorous"),
    "sarcasm": ("sarcastic", "not_sarcastic"),
    "offensiveness": ("offensive", "not_offensive"),
    "sentiment": ("positive", "neutral", "negative"),
    "ocr": (),
    "image_description": (),
    "social_context": (),
}
_SHAPES = ((448, 448), (480, 432), (432, 488))


@dataclass(frozen=True)
class Kind:
    """What a meme says; it decides all labels at once, so that they fit together.

    Attributes:
        weight: Its share of the posts, in 48ths.
        labels: Humor, sarcasm, offensiveness, sentiment.
        moods: Glyphs that show the mood; kinds share some, so that a face alone does not give a label away.
        audience: Who shares it.
        purpose: What for.
        reasons: Why each of the four labels holds; ``{thing}`` is what the caption is about.
    """

    weight: int
    labels: tuple[str, str, str, str]
    moods: str
    audience: str
    purpose: str
    reasons: tuple[str, str, str, str]


def _labels(signs: str) -> tuple[str, str, str, str]:
    """Read ``"HS-+"`` as humorous, sarcastic, not offensive, positive (``0`` neutral, ``!`` negative)."""
    return (
        "humorous" if signs[0] == "H" else "not_humorous",
        "sarcastic" if signs[1] == "S" else "not_sarcastic",
        "offensive" if signs[2] == "O" else "not_offensive",
        {"+": "positive", "0": "neutral", "!": "negative"}[signs[3]],
    )


_NOBODY = "Nobody is insulted or attacked."
_MEANT = "The words are meant as they are said."

KINDS: Mapping[str, Kind] = {
    "joke": Kind(
        9, _labels("H--+"), "😂😆🤪😹", "people who love animals and food",
        "make friends laugh with an absurd little story",
        ("An absurd story about {thing} ends in a punch line.", _MEANT, _NOBODY, "The story is cheerful and playful."),
    ),
    "relatable": Kind(
        3, _labels("H--0"), "🤪🙃😆😐", "students and office workers",
        "laugh about everyday habits that all of them know",
        ("It exaggerates an everyday habit with {thing}.", _MEANT, _NOBODY,
         "The habit is neither praised nor lamented."),
    ),
    "wholesome": Kind(
        6, _labels("---+"), "🥰😊🤗❤", "families, friends and neighbours",
        "thank or encourage somebody with kind words",
        ("It is sincere praise or thanks, without a punch line.", _MEANT, _NOBODY,
         "It expresses pride, love or thanks."),
    ),
    "notice": Kind(
        3, _labels("---0"), "📌ℹ📢😊", "members of a local club or school", "pass on a date and a place",
        ("It only gives information about {thing}.", _MEANT, _NOBODY, "A plain notice carries no feeling."),
    ),
    "sad": Kind(
        2, _labels("---!"), "😭😢😞😔", "people who had a bad day", "share a disappointment and find comfort",
        ("A misfortune is told without a joke.", _MEANT, _NOBODY, "It expresses sadness or loneliness."),
    ),
    "grumble": Kind(
        6, _labels("HS-!"), "🙄😒🙃😤", "commuters and office workers", "let off steam about an everyday annoyance",
        ("The praise of {thing} is comically out of place.",
         "It praises {thing}, which nobody enjoys, and means the opposite.",
         _NOBODY, "Behind the praise stands annoyance about {thing}."),
    ),
    "triumph": Kind(
        7, _labels("HS-+"), "😎🏆👑💪", "people who struggle with housework",
        "celebrate a tiny success as if it were heroic",
        ("A tiny success is told like a heroic deed.", "The boasting is not serious: the deed is tiny.", _NOBODY,
         "The mood is proud and playful."),
    ),
    "deadpan": Kind(
        2, _labels("-S-0"), "😐😑🙄😒", "customers who wait for an answer", "comment dryly on poor planning",
        ("It is a dry remark without a punch line.", "It agrees in words with what it finds foolish.", _NOBODY,
         "The remark stays cool and shows little feeling."),
    ),
    "tease": Kind(
        5, _labels("HSO0"), "😏😈😂🤡", "friends who mock each other", "tease somebody with false praise",
        ("A comic comparison or false praise makes fun of somebody.", "The praise is false and means the opposite.",
         "It mocks the person it speaks to.", "Mockery and play balance each other."),
    ),
    "roast": Kind(
        3, _labels("H-O!"), "😈🤡😂😤", "rivals at school or in a game", "put somebody down with an exaggerated joke",
        ("An exaggerated comparison makes the insult comic.", "The insult is said openly.",
         "It belittles the person it speaks to.", "It looks down on somebody."),
    ),
    "rude": Kind(
        2, _labels("--O!"), "😡😠🤬😤", "people in a heated quarrel", "hurt somebody with open insults",
        ("It is an open insult without a joke.", "The insult is said openly.", "It insults the person it speaks to.",
         "It is angry and contemptuous."),
    ),
}  # fmt: skip
TEMPLATES = read_templates(NAME, CAPTIONS)

DESCRIPTIONS: Mapping[str, tuple[str, ...]] = {
    "train": (
        "{Scene}, in front of {background}. White capital letters at top and bottom.",
        "A drawing of {scene}, against {background}, with a white caption above and below.",
        "There is {scene}; behind one finds {background}. The caption is in bold white capitals.",
    ),
    "validation": ("{Scene} before a backdrop of {background}, between two lines of white writing.",),
    "test": (
        "The picture shows {scene}. One sees {background} further back and big white lettering at the edges.",
        "In this meme, {scene} stands out from {background}, framed by thick white words.",
    ),
}
CONTEXTS: Mapping[str, tuple[str, ...]] = {
    "train": (
        "{Audience} share this meme to {purpose}.",
        "This is posted among {audience} in order to {purpose}.",
        "A typical post of {audience}, who want to {purpose}.",
    ),
    "validation": ("The meme comes from a group of {audience}; its point is to {purpose}.",),
    "test": (
        "Made for {audience}, the image is meant to {purpose}.",
        "Such pictures circulate between {audience} and help them {purpose}.",
    ),
}


def picture(scene: Scene, parts: tuple[str, ...]) -> bytes:
    """Draw a meme: the scene with a caption at the top and one at the bottom, as a JPEG file."""
    top, bottom = (Caption.fit(part, scene.size[0]) for part in parts)
    drawn = scene.draw(top.height, bottom.height)
    top.draw(drawn, "top")
    bottom.draw(drawn, "bottom")
    return encode_jpeg(drawn)


def words(parts: tuple[str, ...]) -> str:
    """Return the words in a meme's picture as they are drawn, top before bottom."""
    return " ".join(parts).upper()


def glyphs(filled: Filled, moods: str, rng: random.Random) -> tuple[str, ...]:
    """Choose two or three glyphs: what the caption names first, then a face for the mood."""
    named = filled.glyphs[:2]
    faces = rng.sample(moods, 2)
    if len(named) == 2:
        return (*named, faces[0]) if rng.random() < 0.6 else named
    return (*named, *faces)[:2]


def _references(split: str, kind: Kind, scene: Scene, rng: random.Random) -> dict[str, tuple[str, ...]]:
    seen, audience = scene.describe(), kind.audience
    described = rng.choice(DESCRIPTIONS[split]).format(
        scene=seen, Scene=seen[0].upper() + seen[1:], background=scene.background.describe()
    )
    context = rng.choice(CONTEXTS[split]).format(
        audience=audience, Audience=audience[0].upper() + audience[1:], purpose=kind.purpose
    )
    return {"image_description": (described,), "social_context": (context,)}


def _draft(split: str, number: int, template: Template, filled: Filled, rng: random.Random) -> Draft:
    kind = KINDS[template.kind]
    scene = choose_scene(split, glyphs(filled, kind.moods, rng), rng.choice(_SHAPES), rng)
    written = words(filled.parts)
    tasks = ("humor", "sarcasm", "offensiveness", "sentiment")
    targets: dict[str, tuple[str, ...]] = {task: (label,) for task, label in zip(tasks, kind.labels, strict=True)}
    targets |= {"ocr": (written,)} | _references(split, kind, scene, rng)
    post = Post(f"demo-{number:04d}", NAME, split, transcription=written, targets=targets)
    reasons = {task: reason.format(thing=filled.thing) for task, reason in zip(tasks, kind.reasons, strict=True)}
    return Draft(post, template.template_id, scene.composition, reasons, lambda: picture(scene, filled.parts))


def drafts(split: str) -> Iterator[Draft]:
    """Yield the posts of a split in their order, not yet drawn."""
    kinds = quota({name: kind.weight for name, kind in KINDS.items()}, SIZES[split])
    for number, (template, filled, rng) in enumerate(write(NAME, split, kinds, TEMPLATES, SLOTS)):
        yield _draft(split, number, template, filled, rng)


DATASET = DemoDataset(
    NAME, SIZES, LABELS, TEMPLATES, {split: DESCRIPTIONS[split] + CONTEXTS[split] for split in SIZES}, drafts
)
