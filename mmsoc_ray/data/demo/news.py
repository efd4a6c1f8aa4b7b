"""``demo_news``: invented news items, true or fake, each with a press photo under a channel's bar."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from PIL import ImageDraw

from mmsoc_ray.data.demo.glyphs import BLACK, WHITE, Colour
from mmsoc_ray.data.demo.lettering import draw_bold, draw_lines, length
from mmsoc_ray.data.demo.news_texts import NEWS, SLOTS
from mmsoc_ray.data.demo.pictures import encode_jpeg
from mmsoc_ray.data.demo.records import DemoDataset, Draft
from mmsoc_ray.data.demo.scenes import Scene, choose_scene
from mmsoc_ray.data.demo.templates import Filled, quota, read_templates, write
from mmsoc_ray.data.posts import Post

NAME = "demo_news"
SIZES = {"train": 120, "validation": 20, "test": 24}
LABELS: Mapping[str, tuple[str, ...]] = {"misinformation": ("fake", "true")}
TEMPLATES = read_templates(NAME, NEWS)
_SIZE = (512, 384)
_BAR = 92  # px
_GROUNDS = ("hills", "room", "city", "sea", "night", "beach", "stage", "gradient")
_WEIGHTS = {"miracle": 3, "conspiracy": 3, "impossible": 2, "giveaway": 2, "civic": 5, "nature": 5, "people": 4}
_REASONS = {
    "miracle": "fake: it promises an instant miracle that no body can do and names no source that could be asked.",
    "conspiracy": "fake: it claims a secret plot, rests on unnamed insiders and asks for no proof.",
    "impossible": "fake: what it tells cannot happen in nature.",
    "giveaway": "fake: it lures with a prize and asks readers to pass it on in a hurry.",
    "civic": "true: it reports an ordinary decision with place, day and speaker, and without alarm.",
    "nature": "true: it gives a plausible observation with a modest figure and where it was made.",
    "people": "true: it reports an ordinary event with names, place and a modest figure.",
}
_CHANNELS: tuple[tuple[str, Colour], ...] = (
    ("DEMO NEWS", (178, 30, 40)),
    ("DEMO 24", (24, 74, 150)),
    ("DEMO DAILY", (20, 110, 96)),
    ("DEMO LIVE", (98, 52, 140)),
)


@dataclass(frozen=True)
class PressPhoto:
    """A news picture.

    Attributes:
        scene: What the photo shows.
        channel: Name in the bar.
        colour: Colour of the bar.
        badge: Word in the upper corner, or empty.
        headline: Words in the bar.
    """

    scene: Scene
    channel: str
    colour: Colour
    badge: str
    headline: str

    @property
    def words(self) -> str:
        """All words in the picture, from top to bottom."""
        return " ".join(part for part in (self.badge, self.channel, self.headline) if part)

    def draw(self) -> bytes:
        """Return the picture as a JPEG file."""
        width, height = _SIZE
        picture = self.scene.draw(top=28, bottom=_BAR + 24)
        draw = ImageDraw.Draw(picture)
        top = height - _BAR
        wide = round(length(self.channel, 20)) + 28
        draw.rectangle((0, top - 30, wide, top), fill=WHITE)
        draw_bold(picture, (14, top - 8), self.channel, 20, fill=self.colour)
        draw.rectangle((0, top, width, height), fill=self.colour)
        draw.rectangle((0, height - 12, width, height), fill=BLACK)
        draw_lines(picture, (16, top + 6, width - 16, height - 16), self.headline, largest=30, fill=WHITE)
        if self.badge:
            wide = round(length(self.badge, 18)) + 24
            draw.rectangle((12, 12, 12 + wide, 42), fill=(206, 32, 38))
            draw_bold(picture, (24, 34), self.badge, 18)
        return encode_jpeg(picture)


def _photo(split: str, kind: str, filled: Filled, rng: random.Random) -> PressPhoto:
    shown = tuple(dict.fromkeys((*filled.parts[2:], *filled.glyphs)))
    scene = choose_scene(split, shown[:3] if len(shown) > 1 else (*shown, "📰"), _SIZE, rng, _GROUNDS)
    channel, colour = rng.choice(_CHANNELS)
    shouting = 0.6 if _REASONS[kind].startswith("fake") else 0.3
    badge = rng.choice(("BREAKING", "EXCLUSIVE")) if rng.random() < shouting else ""
    return PressPhoto(scene, channel, colour, badge, filled.parts[0])


def drafts(split: str) -> Iterator[Draft]:
    """Yield the posts of a split in their order, not yet drawn."""
    kinds = quota(_WEIGHTS, SIZES[split])
    for number, (template, filled, rng) in enumerate(write(NAME, split, kinds, TEMPLATES, SLOTS)):
        photo = _photo(split, template.kind, filled, rng)
        label, _, reason = _REASONS[template.kind].partition(": ")
        post = Post(
            f"demo-{number:04d}",
            NAME,
            split,
            text=f"{filled.parts[0]}. {filled.parts[1]}",
            transcription=photo.words,
            targets={"misinformation": (label,)},
        )
        reasons = {"misinformation": reason[0].upper() + reason[1:]}
        yield Draft(post, template.template_id, photo.scene.composition, reasons, photo.draw)


DATASET = DemoDataset(NAME, SIZES, LABELS, TEMPLATES, dict.fromkeys(SIZES, ()), drafts)
