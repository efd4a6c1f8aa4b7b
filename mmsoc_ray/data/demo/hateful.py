"""``demo_hateful``: hostile or harmless captions about groups that need no protection, such as early risers.

The hostility is mild and aimed at habits of food, sleep and socks; no real community is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mmsoc_ray.data.demo.lexicon import SLOTS
from mmsoc_ray.data.demo.memes import glyphs, picture, words
from mmsoc_ray.data.demo.records import DemoDataset, Draft
from mmsoc_ray.data.demo.scenes import choose_scene
from mmsoc_ray.data.demo.templates import quota, read_templates, write
from mmsoc_ray.data.posts import Post

NAME = "demo_hateful"
SIZES = {"train": 120, "validation": 20, "test": 24}
LABELS: Mapping[str, tuple[str, ...]] = {"hate_speech": ("hateful", "not_hateful")}
_SHAPES = ((448, 448), (480, 432), (448, 480))

CAPTIONS: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]] = {
    "hostile": {
        "train": (
            ("{group} should be banned", "from every {venue} in the country"),
            ("i despise {group}", "they ruin every {venue}"),
            ("keep {group} out", "they are a disgrace to our {venue}"),
            ("{group} are all liars", "never trust a single one"),
            ("no {group} allowed", "this {venue} is for decent people"),
            ("the town got worse", "the day {group} moved in"),
            ("{group} do not deserve", "a seat, a vote or a {food}"),
            ("everyone hates {group}", "throw them off the {venue}"),
            ("{group} are disgusting", "our {venue} must get rid of them"),
        ),
        "validation": (
            ("{group} are disgusting liars", "chase them out of the {venue}"),
            ("send {group} away", "nobody decent trusts them around here"),
            ("{group} ruin everything", "a shame for every {venue}"),
        ),
        "test": (
            ("ban {group} forever", "they poison the {venue} for us decent folk"),
            ("who let {group} in", "disgusting, throw them all out"),
            ("{group} are inferior", "the whole {venue} despises them"),
            ("never hire {group}", "every one of them is a liar and a cheat"),
        ),
    },
    "friendly": {
        "train": (
            ("{group}", "are always welcome at our {venue}"),
            ("hug {group} today", "they make the {venue} brighter"),
            ("today i met {group}", "and we talked for hours over {food}"),
            ("dear {group}", "never change, we love you"),
            ("shout out to {group}", "keep being wonderful"),
            ("{group} saved my {day}", "they shared their {food} with me"),
        ),
        "validation": (
            ("free {food} for {group}", "because they are wonderful"),
            ("my best friends are {group}", "always welcome, we love them"),
        ),
        "test": (
            ("proud to know {group}", "every {venue} deserves such kindness"),
            ("let us celebrate {group}", "{food} for all on {day}"),
            ("{group} moved in next door", "and brought {food}, what a joy"),
        ),
    },
    "complaint": {
        "train": (
            ("i hate {nuisance}", "it ruins every {day}"),
            ("{nuisance} should be banned", "from all days of the week"),
            ("nobody likes {nuisance}", "not even on a {day}"),
        ),
        "validation": (("{nuisance}, on a {day}", "somebody please ban it"),),
        "test": (
            ("i despise {nuisance}", "who let it into my {day}"),
            ("throw out {nuisance}", "worst thing since the last {day}"),
        ),
    },
    "curious": {
        "train": (
            ("{group} be like", "is there a {venue} nearby"),
            ("tonight: a film about {group}", "at the {venue}, bring {food}"),
        ),
        "validation": (("how many {group}", "fit into one {venue}"),),
        "test": (("new club for {group}", "meets at the {venue} each {day}"),),
    },
}
TEMPLATES = read_templates(NAME, CAPTIONS)
_WEIGHTS = {"hostile": 9, "friendly": 8, "complaint": 4, "curious": 3}
_MOODS = {"hostile": "😡😠🤬😤", "friendly": "🥰😊🤗❤", "complaint": "😤😠😒😞", "curious": "😐🙃😊😆"}
_REASONS = {
    "hostile": "It calls for excluding or despising all {thing}, a whole group of people.",
    "friendly": "It speaks kindly about {thing} and welcomes them.",
    "complaint": "The anger is aimed at {thing}, a thing and not a group of people.",
    "curious": "It mentions {thing} without judging them.",
}


def drafts(split: str) -> Iterator[Draft]:
    """Yield the posts of a split in their order, not yet drawn."""
    for number, (template, filled, rng) in enumerate(
        write(NAME, split, quota(_WEIGHTS, SIZES[split]), TEMPLATES, SLOTS)
    ):
        scene = choose_scene(split, glyphs(filled, _MOODS[template.kind], rng), rng.choice(_SHAPES), rng)
        label = "hateful" if template.kind == "hostile" else "not_hateful"
        post = Post(
            f"demo-{number:04d}",
            NAME,
            split,
            transcription=words(filled.parts),
            targets={"hate_speech": (label,)},
        )
        reasons = {"hate_speech": _REASONS[template.kind].format(thing=filled.thing)}
        yield Draft(
            post,
            template.template_id,
            scene.composition,
            reasons,
            lambda scene=scene, parts=filled.parts: picture(scene, parts),  # type: ignore[misc]
        )


DATASET = DemoDataset(NAME, SIZES, LABELS, TEMPLATES, dict.fromkeys(SIZES, ()), drafts)
