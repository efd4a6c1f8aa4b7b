"""``demo_videos``: title, description and thumbnail of videos that were never filmed, with several tags each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from PIL import Image, ImageDraw

from mmsoc_ray.data.demo.glyphs import BLACK, WHITE
from mmsoc_ray.data.demo.lettering import draw_bold, length
from mmsoc_ray.data.demo.lexicon import SLOTS as MEME_SLOTS
from mmsoc_ray.data.demo.lexicon import Filler, fillers
from mmsoc_ray.data.demo.news_texts import SLOTS as NEWS_SLOTS
from mmsoc_ray.data.demo.pictures import encode_jpeg
from mmsoc_ray.data.demo.records import DemoDataset, Draft
from mmsoc_ray.data.demo.scenes import Scene, choose_scene
from mmsoc_ray.data.demo.templates import Filled, Slots, quota, read_templates, write
from mmsoc_ray.data.demo.video_texts import FORMATS, TAGS, TOPICS, VIDEOS, WEIGHTS, Topic
from mmsoc_ray.data.posts import Post

NAME = "demo_videos"
SIZES = {"train": 120, "validation": 20, "test": 24}
LABELS: Mapping[str, tuple[str, ...]] = {"tagging": TAGS}
TEMPLATES = read_templates(NAME, VIDEOS)
_SIZE = (512, 288)
_SHARES = {"tutorial": 7, "review": 4, "vlog": 4, "live": 2, "plain": 4, "combo": 3}
_NUMBERS = fillers("three", "4", "5", "6", "seven", "8", "ten", "12", "15", "20")
_BY_WORDS = {filler.text: topic for topic in TOPICS for filler in (*topic.acts, *topic.gear)}
_FORMAT_REASONS = {
    "tutorial": "tutorial, because it teaches step by step",
    "review": "review, because it tests and rates a thing",
    "vlog": "vlog, because it tells of the maker's own days",
    "live": "live, because it was streamed",
}


def _topic_slots(split: str) -> Callable[[random.Random], Slots]:
    """Return what chooses the slots of a post: the topics come in shuffled order, each as often as its weight says."""
    order = quota({str(place): weight for place, weight in enumerate(WEIGHTS)}, SIZES[split])
    random.Random(f"{NAME} {split} topics").shuffle(order)  # noqa: S311 - reproducible, not secret
    topics = cycle([TOPICS[int(place)] for place in order])

    def choose(rng: random.Random) -> Slots:
        topic = next(topics)
        other = rng.choice([candidate for candidate in TOPICS if not set(candidate.tags) & set(topic.tags)])
        return {
            "act": topic.acts,
            "gear": topic.gear,
            "other": other.acts,
            "number": _NUMBERS,
            "name": MEME_SLOTS["name"],
            "place": NEWS_SLOTS["place"],
        }

    return choose


@dataclass(frozen=True)
class Thumbnail:
    """A video's still.

    Attributes:
        scene: What it shows.
        hook: Large words, in capitals.
        duration: For example ``4:32``.
        live: Whether it carries the badge of a stream.
    """

    scene: Scene
    hook: str
    duration: str
    live: bool

    @property
    def words(self) -> str:
        """All words in the picture, from top to bottom."""
        return " ".join((*(("LIVE",) if self.live else ()), self.hook, self.duration))

    def draw(self) -> bytes:
        """Return the picture as a JPEG file."""
        width, height = _SIZE
        picture = self.scene.draw(bottom=52)
        if self.live:
            ImageDraw.Draw(picture).rectangle((width - 78, 12, width - 12, 42), fill=(206, 32, 38))
            draw_bold(picture, (width - 45, 34), "LIVE", 20, centred=True)
        draw_bold(picture, (18, height - 20), self.hook, _hook_size(self.hook), fill=(255, 226, 64), outline=BLACK)
        wide = round(length(self.duration, 20)) + 18
        ImageDraw.Draw(picture).rectangle((width - wide - 10, height - 40, width - 10, height - 10), fill=(20, 20, 20))
        draw_bold(picture, (width - 10 - wide // 2, height - 18), self.duration, 20, centred=True)
        _play_button(picture)
        return encode_jpeg(picture)


def _hook_size(hook: str) -> int:
    """Largest font size in pixels at which the words leave room for the duration."""
    return next(size for size in range(46, 10, -2) if length(hook, size) <= _SIZE[0] - 120)


def _play_button(picture: Image.Image) -> None:
    x, y = _SIZE[0] - 46, _SIZE[1] - 74  # above the duration, so that no subject is hidden
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((x - 36, y - 25, x + 36, y + 25), radius=13, fill=(214, 32, 38), outline=WHITE, width=3)
    draw.polygon([(x - 11, y - 15), (x - 11, y + 15), (x + 16, y)], fill=WHITE)


def _topics(chosen: Mapping[str, Filler]) -> tuple[Topic, ...]:
    found = [_BY_WORDS[chosen[slot].text] for slot in ("act", "other", "gear") if slot in chosen]
    return tuple(topic for place, topic in enumerate(found) if topic not in found[:place])


def _thumbnail(split: str, kind: str, filled: Filled, rng: random.Random) -> Thumbnail:
    subject = filled.chosen.get("act") or filled.chosen["gear"]
    shown = tuple(dict.fromkeys((*(filler.glyph for filler in _shown(filled.chosen)), "🎬")))
    scene = choose_scene(split, tuple(glyph for glyph in shown if glyph)[:2], _SIZE, rng)
    duration = f"{rng.randrange(2, 28)}:{rng.randrange(60):02d}"
    hook = " ".join(word for word in subject.text.split()[-2:] if word not in ("a", "the")).upper()
    return Thumbnail(scene, hook, duration, kind == "live")


def _shown(chosen: Mapping[str, Filler]) -> Sequence[Filler]:
    return [chosen[slot] for slot in ("act", "other", "gear") if slot in chosen]


def _reason(kind: str, topics: Sequence[Topic], chosen: Mapping[str, Filler]) -> str:
    words = {_BY_WORDS[filler.text]: filler.text for filler in reversed(_shown(chosen))}
    parts = [f'{" and ".join(topic.tags)}, because of "{words[topic]}"' for topic in topics]
    parts += [_FORMAT_REASONS[kind]] if kind in FORMATS else []
    return "The tags are " + "; ".join(parts) + "."


def drafts(split: str) -> Iterator[Draft]:
    """Yield the posts of a split in their order, not yet drawn."""
    kinds = quota(_SHARES, SIZES[split])
    for number, (template, filled, rng) in enumerate(write(NAME, split, kinds, TEMPLATES, _topic_slots(split))):
        thumbnail = _thumbnail(split, template.kind, filled, rng)
        topics = _topics(filled.chosen)
        tags = {tag for topic in topics for tag in topic.tags} | ({template.kind} & set(FORMATS))
        post = Post(
            f"demo-{number:04d}",
            NAME,
            split,
            text=f"{filled.parts[0]}\n{filled.parts[1]}",
            transcription=thumbnail.words,
            targets={"tagging": tuple(tag for tag in TAGS if tag in tags)},
        )
        reasons = {"tagging": _reason(template.kind, topics, filled.chosen)}
        yield Draft(post, template.template_id, thumbnail.scene.composition, reasons, thumbnail.draw)


DATASET = DemoDataset(NAME, SIZES, LABELS, TEMPLATES, dict.fromkeys(SIZES, ()), drafts)
