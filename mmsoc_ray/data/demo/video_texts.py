"""Texts of ``demo_videos``: format → split → (title, description), and the topics with their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmsoc_ray.data.demo.lexicon import Filler, fillers


@dataclass(frozen=True)
class Topic:
    """What a video is about.

    Attributes:
        tags: Its tags, the general one first.
        acts: What is done in it.
        gear: Things that it is done with.
    """

    tags: tuple[str, ...]
    acts: tuple[Filler, ...]
    gear: tuple[Filler, ...]


TOPICS: Sequence[Topic] = (
    Topic(("food", "cooking"),
          fillers("🍜 cook noodle soup", "🍳 fry the perfect egg", "🍲 simmer tomato stew", "🌮 fold street tacos"),
          fillers("🍳 iron pan", "🔪 kitchen knife", "🥣 soup bowl")),
    Topic(("food", "baking"),
          fillers("🍞 bake sourdough bread", "🧁 ice vanilla cupcakes", "🥐 roll butter croissants",
                  "🥧 bake apple pie"),
          fillers("🥄 dough spoon", "🎂 cake tin", "🧈 butter dish")),
    Topic(("sports", "football"),
          fillers("⚽ shoot free kicks", "🥅 save a penalty", "⚽ dribble past defenders", "🏆 celebrate the cup win"),
          fillers("👟 football boot", "🧤 goalkeeper glove", "👕 team jersey")),
    Topic(("sports", "tennis"),
          fillers("🎾 serve a tennis ace", "🎾 hit the backhand", "🏆 win the match point"),
          fillers("🎾 tennis racket", "👟 court shoe", "🎒 racket bag")),
    Topic(("sports", "cycling", "outdoors"),
          fillers("🚴 climb a mountain pass", "🚲 fix a flat tyre", "🚴 sprint on the bike"),
          fillers("🚲 gravel bike", "🔧 chain tool", "🔦 bicycle lamp")),
    Topic(("outdoors", "hiking"),
          fillers("🥾 hike the ridge trail", "🏕 pitch a tent", "⛰ reach the summit", "🧭 read a trail map"),
          fillers("🥾 hiking boot", "🎒 trail backpack", "🧭 pocket compass")),
    Topic(("outdoors", "gardening"),
          fillers("🍅 grow balcony tomatoes", "🌹 prune old roses", "🌻 plant sunflower seeds", "🥕 harvest carrots"),
          fillers("🪴 flower pot", "🧤 garden glove", "🪣 watering bucket")),
    Topic(("music", "guitar"),
          fillers("🎸 play open chords", "🎸 tune six strings", "🎸 strum a love song"),
          fillers("🎸 travel guitar", "🔌 guitar cable", "🎸 steel string set")),
    Topic(("music", "piano"),
          fillers("🎹 play a slow waltz", "🎹 practise piano scales", "🎼 read piano notes"),
          fillers("🎹 stage piano", "🪑 piano bench", "🎧 silent headphone")),
    Topic(("animals", "cats"),
          fillers("🐱 train a kitten", "🐈 brush a fluffy cat", "🐱 wake the sleepy cat", "🐾 build a cat tree"),
          fillers("🧶 wool mouse", "📦 cat castle", "🐟 cat feeder")),
    Topic(("animals", "dogs"),
          fillers("🐶 bathe a muddy puppy", "🐕 teach a dog tricks", "🦴 hide a dog bone"),
          fillers("🦴 chew bone", "🎾 dog ball", "🏠 dog house")),
    Topic(("games", "chess"),
          fillers("♟ solve a mate puzzle", "♟ play a chess opening", "♟ trap the queen"),
          fillers("♟ chess set", "⏰ chess clock", "📖 endgame book")),
    Topic(("art", "painting"),
          fillers("🎨 paint a sunset", "🖌 mix oil colours", "🎨 sketch a portrait"),
          fillers("🖌 paint brush", "🎨 watercolour box", "🖼 blank canvas")),
    Topic(("crafts", "knitting"),
          fillers("🧶 knit warm mittens", "🧶 purl the second row", "🧦 knit striped socks"),
          fillers("🧶 ball of wool", "🧵 yarn needle", "🧺 yarn basket")),
    Topic(("technology", "robots"),
          fillers("🤖 build a robot arm", "🦾 wire two motors", "🤖 race line robots"),
          fillers("⚙ servo motor", "🔋 robot battery", "🪛 screwdriver kit")),
    Topic(("science", "space"),
          fillers("🔭 find the ring planet", "🚀 launch a model rocket", "🌕 photograph the moon",
                  "🛰 track a satellite"),
          fillers("🔭 telescope", "📷 star camera", "🗺 star map")),
)  # fmt: skip
WEIGHTS: Sequence[int] = (6, 3, 6, 2, 3, 3, 3, 4, 2, 5, 3, 2, 3, 2, 3, 3)
"""How often each topic comes; a few are common, as on real platforms."""

FORMATS: tuple[str, ...] = ("tutorial", "review", "vlog", "live")
"""Formats that are tags themselves."""

TAGS: tuple[str, ...] = (*dict.fromkeys(tag for topic in TOPICS for tag in topic.tags), *FORMATS)
"""The vocabulary, in the order in which a post lists its tags."""

VIDEOS: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]] = {
    "tutorial": {
        "train": (
            ("How to {act} in {number} minutes",
             "A step by step guide for beginners. You need a {gear} and some patience."),
            ("Learn to {act} | lesson {number}",
             "We start from zero and practise slowly. Exercises with the {gear} come at the end."),
            ("{number} mistakes when you {act}",
             "Avoid these errors! I explain each of them with my {gear}."),
        ),
        "validation": (
            ("Beginner course: {act}", "Follow along at home; chapter {number} covers the {gear}."),
        ),
        "test": (
            ("The easy way to {act}", "This guide shows every step, from choosing a {gear} to the finish."),
            ("{act} like a pro: basics explained", "Tips for beginners with {number} exercises and any {gear}."),
        ),
    },
    "review": {
        "train": (
            ("Is this {gear} worth it?", "Honest test after {number} weeks. I use it to {act} and rate it at the end."),
            ("{gear}: my honest review", "Pros, cons and the price. Can you {act} with it?"),
        ),
        "validation": (
            ("I compared {number} kinds of {gear}", "Which one should you buy to {act}? Ratings inside."),
        ),
        "test": (
            ("Do not buy a {gear} before watching", "Tested for {number} days: all pros, all cons, one final rating."),
            ("Cheap or expensive {gear}?", "An honest opinion from somebody who tried to {act} using both."),
        ),
    },
    "vlog": {
        "train": (
            ("A day with me: we {act}", "Come along to {place}! Coffee, chatting and a lost {gear}."),
            ("My weekend in {place}", "We {act}, meet {name} and laugh a lot. Thanks for watching my diary."),
        ),
        "validation": (
            ("Come with us to {place}", "A lazy morning with {name}, then we finally {act}."),
        ),
        "test": (
            ("Diary of a week in {place}", "Little moments and long breakfasts; on the last day {name} and I {act}."),
            ("Morning routine in {place}", "Chatting, coffee and my old {gear}. Later we all {act} together."),
        ),
    },
    "live": {
        "train": (
            ("LIVE: {name} tries to {act}", "Recording of the stream from {place}. Chat asks about the {gear}."),
            ("We {act} on air", "Live from {place} with your questions in the chat."),
        ),
        "validation": (
            ("Live stream number {number}: {act}", "Guests tonight are {name} and a new {gear}."),
        ),
        "test": (
            ("Streaming now: {name} and friends {act}", "Ask anything in the live chat; camera stands in {place}."),
        ),
    },
    "plain": {
        "train": (
            ("{act} compilation", "The {number} best moments, filmed in {place}."),
            ("Relaxing: watch us {act}", "One hour without talking. The {gear} makes the nicest sound."),
        ),
        "validation": (
            ("When {name} wants to {act}", "Nothing goes as planned in {place}."),
        ),
        "test": (
            ("{number} strangers {act} at once", "Seen in {place}. Nobody dropped the {gear}."),
            ("{act} in slow motion", "Look closely at the {gear}."),
        ),
    },
    "combo": {
        "train": (
            ("Can you {act} and {other}?", "{name} takes both challenges in {place}."),
            ("{act} versus {other}", "Which is harder? We tried for {number} hours."),
        ),
        "validation": (
            ("First I {act}, afterwards I {other}", "A strange plan for a Sunday in {place}."),
        ),
        "test": (
            ("{name} must {act} or {other}", "The wheel decides and the loser buys a {gear}."),
        ),
    },
}  # fmt: skip
