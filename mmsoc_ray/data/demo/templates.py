"""Templates with slots: each belongs to one split, so no sentence of the test split was seen in training."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mmsoc_ray.data.demo.lexicon import Filler

Slots = Mapping[str, Sequence[Filler]]
_SLOT = re.compile(r"\{([a-z]+?)(\d?)\}")


@dataclass(frozen=True)
class Template:
    """A text with slots.

    Attributes:
        template_id: ``<dataset>/<kind>/<split>-<number>``.
        kind: What it says, which decides the labels.
        split: The only split that uses it.
        parts: The texts, for example top and bottom caption, with slots as ``{creature}``; ``{place2}`` is a second
            place.
    """

    template_id: str
    kind: str
    split: str
    parts: tuple[str, ...]

    def skeleton(self) -> tuple[str, ...]:
        """Return its words in lower case without punctuation, each slot as ``_``."""
        return tuple(re.findall(r"[a-z0-9]+|_", _SLOT.sub(" _ ", " ".join(self.parts)).lower()))


@dataclass(frozen=True)
class Filled:
    """A template with its slots filled.

    Attributes:
        parts: The texts.
        chosen: Slot to what it got, in order of appearance.
    """

    parts: tuple[str, ...]
    chosen: Mapping[str, Filler]

    @property
    def thing(self) -> str:
        """What the text is about: the first filler that can be shown, with its article, or ``it``."""
        for slot, filler in self.chosen.items():
            if filler.glyph:
                return f"a {filler.text}" if slot in ("creature", "object", "place", "venue") else filler.text
        return "it"

    @property
    def glyphs(self) -> tuple[str, ...]:
        """Glyphs of the fillers, each once, in order of appearance."""
        return tuple(dict.fromkeys(filler.glyph for filler in self.chosen.values() if filler.glyph))


def read_templates(dataset: str, texts: Mapping[str, Mapping[str, Sequence[tuple[str, ...]]]]) -> tuple[Template, ...]:
    """Read templates from kind → split → texts."""
    return tuple(
        Template(f"{dataset}/{kind}/{split}-{number:02d}", kind, split, parts)
        for kind, splits in texts.items()
        for split, listed in splits.items()
        for number, parts in enumerate(listed)
    )


def fill(template: Template, slots: Slots, rng: random.Random) -> Filled:
    """Fill a template's slots by chance; the same slot twice gets the same words, ``{place}`` and ``{place2}`` differ.

    Raises:
        KeyError: A slot has no fillers.
    """
    chosen: dict[str, Filler] = {}
    for part in template.parts:
        for name, number in _SLOT.findall(part):
            if f"{name}{number}" not in chosen:
                taken = [filler for slot, filler in chosen.items() if slot.rstrip("0123456789") == name]
                chosen[f"{name}{number}"] = rng.choice([filler for filler in slots[name] if filler not in taken])

    def put(match: re.Match[str]) -> str:
        return chosen[match.group(1) + match.group(2)].text

    parts = tuple(_capitalise(_SLOT.sub(put, part), part) for part in template.parts)
    return Filled(parts, chosen)


def _capitalise(text: str, pattern: str) -> str:
    """Begin with a capital where a slot begins a sentence that others begin with one."""
    return text[:1].upper() + text[1:] if pattern.startswith("{") else text


def quota(weights: Mapping[str, int], total: int) -> list[str]:
    """Share ``total`` posts over kinds by weight, largest remainder first, in the order of the kinds."""
    whole = sum(weights.values())
    counts = {kind: total * weight // whole for kind, weight in weights.items()}
    remainders = sorted(weights, key=lambda kind: -(total * weights[kind] % whole))
    for kind in remainders[: total - sum(counts.values())]:
        counts[kind] += 1
    return [kind for kind, count in counts.items() for _ in range(count)]


def write(
    dataset: str,
    split: str,
    kinds: Sequence[str],
    templates: Sequence[Template],
    slots: Slots | Callable[[random.Random], Slots],
) -> Iterator[tuple[Template, Filled, random.Random]]:
    """Write a text per kind in shuffled order, no two alike, with the templates of a kind taken in turn.

    Args:
        dataset: Name of the data set; with the split it decides all that is drawn by chance.
        split: Whose templates are used.
        kinds: A kind for each post.
        templates: Templates of all splits.
        slots: Slot name to its fillers, or what chooses such a mapping for a post.

    Yields:
        Template, filled text, and the post's own source of chance for all that follows.
    """
    order = list(kinds)
    random.Random(f"{dataset} {split} order").shuffle(order)  # noqa: S311
    turns: dict[str, int] = {}
    seen: set[tuple[str, ...]] = set()
    for number, kind in enumerate(order):
        own = [template for template in templates if template.kind == kind and template.split == split]
        turn = turns.get(kind, 0)
        turns[kind] = turn + 1
        template = own[turn % len(own)]
        rng = random.Random(f"{dataset} {split} {number}")  # noqa: S311 - reproducible, not secret
        filled = fill(template, slots(rng) if callable(slots) else slots, rng)
        while filled.parts in seen:
            filled = fill(template, slots(rng) if callable(slots) else slots, rng)
        seen.add(filled.parts)
        yield template, filled, rng
