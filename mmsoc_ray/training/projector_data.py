"""What the projector learns from: drawn pictures with questions whose answers are known by construction.

Two kinds of pictures are drawn. *Scenes* are the demo's own: two or three glyphs in an arrangement on a background,
mostly with captions of random words, so that lettering says nothing about the picture. *Singles* show one of all
OpenMoji glyphs that stand for a thing, under its Unicode name. Held out are

- ``validation``: compositions (background with arrangement; background with glyph) that training never shows,
- ``unseen_glyphs``: singles of glyphs that training never shows.

The demo's test compositions are in neither, so that the demo's test pictures stay unseen.
"""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from PIL import Image

from mmsoc_ray.data.demo.backgrounds import BACKGROUNDS, COLOURS, Background
from mmsoc_ray.data.demo.lexicon import NOUNS
from mmsoc_ray.data.demo.pictures import MissingGlyphError, draw_caption, glyph, place_glyph
from mmsoc_ray.data.demo.scenes import Scene, choose_scene

Split = Literal["train", "validation", "unseen_glyphs"]

SIZE = (448, 448)
DESCRIBE = "Describe the scene, such as its major subjects, colors, and texture."
"""The prompt of the task image_description."""
NAME = "What is in the picture?"
BEHIND = "What is in the background?"

_SCENES = 0.7
"""Share of scenes among the training pictures."""
_CAPTIONED = 0.7
"""Share of scenes with captions."""
_CODE_POINTS = (range(0x2600, 0x2765), range(0x1F300, 0x1FB00))
_NOT_THINGS = frozenset(
    (
        "symbol", "sign", "mark", "arrow", "arrows", "square", "circle", "diamond", "button", "triangle", "clock",
        "input", "sun-dial", "japanese", "squared", "keycap", "black", "white", "letter", "letters", "line", "star",
        "cross", "orthodox", "menorah", "kaaba", "synagogue", "mosque", "hindu", "om", "wheel", "chess", "suit",
        "pointing", "pointer", "index", "finger", "fingers", "hand", "palm", "hands", "fist", "ballot", "box",
        "lower", "upper", "left", "right", "no", "mobile", "modifier", "component", "tag", "pentagon", "hexagon",
        "ellipse", "overlapping", "oclock", "face", "clockwise", "anticlockwise", "rightwards",
        "leftwards", "up-pointing", "down-pointing", "right-pointing", "left-pointing", "heavy",
        "medium", "double", "vertical", "bar", "playing", "silhouette", "figure", "pregnant", "breast-feeding",
        "biting", "smoking", "pistol", "bomb", "syringe",
    )
)  # fmt: skip
"""Words of Unicode names that stand for signs and gestures; their glyphs are not used."""

_LITTLE_WORDS = frozenset(
    (
        "when", "the", "my", "your", "this", "is", "was", "not", "never", "always", "again", "today", "monday", "me",
        "you", "they",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """A question about a picture and the answer to learn."""

    question: str
    answer: str


@dataclass(frozen=True)
class Example:
    """A picture that is not drawn yet, and what is asked about it.

    Attributes:
        scene: A scene of the demo, or None for a single.
        single: Glyph of a single, or None.
        background: Background of a single, or None.
        captions: Words drawn at top and bottom; empty for none.
        words: What is seen, in words: subjects first, background last.
        turns: Questions and answers, each independent of the others.
        seed: Decides the details of a single.
    """

    scene: Scene | None
    single: str | None
    background: Background | None
    captions: tuple[str, ...]
    words: tuple[str, ...]
    turns: tuple[Turn, ...]
    seed: str

    def draw(self) -> Image.Image:
        """Return the picture, RGB."""
        if self.scene is not None:
            room = (70, 70) if self.captions else (0, 0)
            picture = self.scene.draw(*room)
            for text, position in zip(self.captions, ("top", "bottom"), strict=False):
                draw_caption(picture, text, "top" if position == "top" else "bottom")
            return picture
        if self.single is None or self.background is None:
            raise ValueError("an example needs a scene, or a glyph and a background")
        rng = random.Random(self.seed)  # noqa: S311 - reproducible drawing, not secrecy
        picture = self.background.draw(SIZE, rng)
        size = rng.randrange(200, 360, 8)
        slack = (SIZE[0] - size) // 2
        centre = (SIZE[0] // 2 + rng.randint(-slack, slack), SIZE[1] // 2 + rng.randint(-slack, slack))
        place_glyph(picture, self.single, centre, size, flip=rng.random() < 0.5)
        return picture


def make_examples(split: Split, count: int, seed: int) -> list[Example]:
    """Return examples, the same for the same arguments.

    Args:
        split: Which compositions and glyphs may occur; see the module's docstring.
        count: How many.
        seed: Another seed gives other pictures of the same split.
    """
    rng = random.Random(f"{split} {seed}")  # noqa: S311 - reproducible data, not secrecy
    scenes = 0.0 if split == "unseen_glyphs" else _SCENES
    return [_scene(split, rng) if rng.random() < scenes else _single(split, rng) for _ in range(count)]


def _scene(split: Split, rng: random.Random) -> Example:
    glyphs = tuple(rng.sample(sorted(NOUNS), rng.choice((2, 2, 3))))
    scene = choose_scene("train" if split == "train" else "validation", glyphs, SIZE, rng)
    behind = scene.background.describe()
    sentence = f"{_upper(scene.describe())}, in front of {behind}."
    turns = (
        Turn(DESCRIBE, sentence),
        Turn(NAME, f"{_upper(NOUNS[glyphs[0]])} and {NOUNS[glyphs[1]]}."),
        Turn(BEHIND, f"{_upper(behind)}."),
    )
    captions = (_babble(rng), _babble(rng)) if rng.random() < _CAPTIONED else ()
    words = (*(NOUNS[char] for char in glyphs), behind)
    return Example(scene, None, None, captions, words, turns, "")


def _single(split: Split, rng: random.Random) -> Example:
    while True:
        char = rng.choice(things())
        background = Background(rng.choice(BACKGROUNDS), rng.choice(sorted(COLOURS)))
        unseen = char not in NOUNS and _share(char) < 1 / 12
        held_out = _share(char + background.kind) < 1 / 8
        wanted: Split = "unseen_glyphs" if unseen else "validation" if held_out else "train"
        if wanted == split:
            break
    name, behind = with_article(thing_name(char)), background.describe()
    turns = (
        Turn(DESCRIBE, f"{_upper(name)}, in front of {behind}."),
        Turn(NAME, f"{_upper(name)}."),
        Turn(BEHIND, f"{_upper(behind)}."),
    )
    return Example(None, char, background, (), (name, behind), turns, f"single {rng.getrandbits(64)}")


@lru_cache(maxsize=1)
def things() -> tuple[str, ...]:
    """Return the glyphs that stand for a thing: about 800 of OpenMoji's single code points."""
    found = []
    for points in _CODE_POINTS:
        for char in map(chr, points):
            name = unicodedata.name(char, "").lower()
            if name and not _NOT_THINGS & set(name.split()) and len(name.split()) <= 3 and _has_glyph(char):
                found.append(char)
    return tuple(found)


def thing_name(char: str) -> str:
    """Return the Unicode name in lower case: ``hedgehog``."""
    return unicodedata.name(char).lower()


def with_article(name: str) -> str:
    """Put ``a`` or ``an`` before a name, nothing before what looks like a plural."""
    if name.endswith("s") and not name.endswith("ss"):
        return name
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _has_glyph(char: str) -> bool:
    try:
        glyph(char, 16)
    except MissingGlyphError:
        return False
    return True


def _babble(rng: random.Random) -> str:
    """Return random words for a caption."""
    return " ".join(rng.choice(_caption_words()) for _ in range(rng.randint(2, 6)))


@lru_cache(maxsize=1)
def _caption_words() -> Sequence[str]:
    return sorted({word for char in things() for word in thing_name(char).split()} | _LITTLE_WORDS)


def _share(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
