"""How answers are read: one parser for each kind of task, and what it returns."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, Protocol

from mmsoc_ray.tasks.label_rules import LABEL_RULES, LabelWords, reading
from mmsoc_ray.tasks.text import bare, fold_quotes, is_refusal, names_picture

ParsePolicy = Literal["strict", "lenient"]
"""``strict`` takes only what the prompt asked for; ``lenient`` also what models really say."""

PARSER_VERSION = 4
"""Raised when a parser reads some answer otherwise: a finished run is then scored anew, from the answers it has."""

MAX_TAGS = 100
MAX_TAG_CHARACTERS = 64
LIST_NUMBER = re.compile(r"^\s*\d{1,3}[.)]\s")
TAG_PREFIX = re.compile(r"[^,\n]{0,60}?\b(?:tags?|keywords?|hashtags?|answer)\b[^,\n:]{0,20}:", re.IGNORECASE)
"""What leads up to a list of tags: ``Tags:``, ``Here are the tags:``, ``{"tags":``."""

TAG_SEPARATORS = ("\n", ";", "|", " #", "，", "、", "；", "،", "؛")
NO_TEXT = re.compile(r"(?:there (?:is|are)|there's|i see|i can see)?\s?no (?:\w+ )?(?:text|words)\b", re.IGNORECASE)
"""How an answer begins that says that nothing stands in a picture."""


@dataclass(frozen=True)
class Parsed:
    """An answer as it was read.

    Attributes:
        values: The label, the tags, or the text; None where the answer could not be read (unparsed).
        refused: Whether the model declined to answer.
        rule: Name of the rule that decided, or why the answer is unparsed.
    """

    values: tuple[str, ...] | None
    refused: bool = False
    rule: str = ""

    @property
    def value(self) -> str | None:
        """The label or the text; None where unparsed."""
        return self.values[0] if self.values else None


class AnswerParser(Protocol):
    """Reads an answer. Never raises, whatever the text; time grows linearly with its length."""

    def __call__(self, output: str, policy: ParsePolicy = "lenient") -> Parsed:
        """Read an answer under a policy."""
        ...


@dataclass(frozen=True)
class LabelParser:
    """Reads one label of a classification by the rules of ``LABEL_RULES``, in their order.

    The first rule that finds something decides: one label is the answer, several labels leave it unparsed.
    """

    words: LabelWords

    def __call__(self, output: str, policy: ParsePolicy = "lenient") -> Parsed:
        """Read a label; ``strict`` takes only the word that the prompt asks for, whatever its case and quotes."""
        said = bare(output)
        if not said:
            return Parsed(None, rule="empty")
        asked = self.words.asked.get(said)
        if asked is not None:
            return Parsed((asked,), rule="asked_word")
        if policy == "strict":
            return Parsed(None, refused=is_refusal(output), rule="not_the_asked_word")
        answer = reading(output, self.words)
        for rule in LABEL_RULES:
            found = rule.find(answer, self.words)
            if found is None:
                continue
            if len(found) == 1:
                return Parsed((next(iter(found)),), rule=rule.name)
            return Parsed(None, refused=rule.name == "refusal", rule=rule.name if not found else "several_labels")
        return Parsed(None, rule="no_label")


@functools.lru_cache(maxsize=1 << 16)  # a vocabulary comes back in every answer
def normalise_tag(tag: str) -> str:
    """Return a tag in the form in which tags are compared: ``"French-Open"`` and ``french open`` are the same."""
    spaced = fold_quotes(tag).replace("-", " ").replace("_", " ").casefold()
    short = " ".join(spaced.split())
    # Of more characters it is no tag, and normalising hostile runs of combining marks takes quadratic time.
    composed = unicodedata.normalize("NFKC", short) if len(short) <= 4 * MAX_TAG_CHARACTERS else short
    return composed.strip("\"'`#*.•[](){} ")


@dataclass(frozen=True)
class TagParser:
    """Reads tags: split at commas and normalised, each once, at most ``MAX_TAGS`` of ``MAX_TAG_CHARACTERS``.

    MM-Soc's prompt does not name its 62 topics, so a tag is any short text. ``lenient`` also splits at
    ``TAG_SEPARATORS``, drops what leads up to the tags (``TAG_PREFIX``), list marks and an "and" before the last, and
    finds a refusal; ``strict`` takes commas only. An answer without any tag is unparsed.
    """

    def __call__(self, output: str, policy: ParsePolicy = "lenient") -> Parsed:
        """Read the tags in the order in which they were said."""
        text = output.strip()
        if policy == "lenient":
            if is_refusal(text):
                return Parsed(None, refused=True, rule="refusal")
            prefix = TAG_PREFIX.match(text)
            text = text[prefix.end() :] if prefix else text
            for separator in TAG_SEPARATORS:
                text = text.replace(separator, ",")
            before, comma, last = text.rpartition(",")
            text = before + comma + (last.lstrip().removeprefix("and ") if comma else last)
        tags: dict[str, None] = {}
        for piece in text.split(","):
            short = piece if len(piece) <= 4 * MAX_TAG_CHARACTERS else ""
            tag = normalise_tag(LIST_NUMBER.sub("", short) if policy == "lenient" else short)
            if tag and len(tag) <= MAX_TAG_CHARACTERS:
                tags[tag] = None
            if len(tags) == MAX_TAGS:
                break
        return Parsed(tuple(tags), rule="split") if tags else Parsed(None, rule="empty")


@dataclass(frozen=True)
class QuotedTextParser:
    """Reads the words in a picture: what stands in double quotes, as the prompt asks.

    ``lenient``: several quoted parts are joined by a space (names of JSON's fields left out), a quote that is opened
    and never closed runs to the end, and an answer without double quotes counts whole, without single quotes around it;
    one that says that there is no text is the empty text. ``strict``: the whole answer must be one quoted part.
    """

    def __call__(self, output: str, policy: ParsePolicy = "lenient") -> Parsed:
        """Read the text; explicit empty quotes are an answer, an empty answer is unparsed."""
        text = fold_quotes(output).strip()
        if policy == "strict":
            parts = text.split('"')
            whole = len(parts) == 3 and not parts[0] and not parts[2]
            return Parsed((parts[1].strip(),), rule="quoted") if whole else Parsed(None, rule="not_quoted")
        parts = text.replace('\\"', "'").split('"')
        is_json = text.removeprefix("```json").lstrip().startswith("{")
        # 5" is no opening quote.
        if len(parts) > 2 or (len(parts) == 2 and (not parts[0] or not parts[0][-1].isalnum())):
            values = [
                part.strip()
                for part, behind in zip(parts[1::2], [*parts[2::2], ""], strict=False)
                if not (is_json and behind.lstrip().startswith(":"))
            ]
            return Parsed((" ".join(filter(None, values)),), rule="quoted")
        if not text:
            return Parsed(None, rule="empty")
        if NO_TEXT.match(text):
            return Parsed(("",), rule="no_text")
        if is_refusal(text) and names_picture(text):
            return Parsed(None, refused=True, rule="refusal")
        if len(text) > 2 and text[0] == text[-1] == "'":
            return Parsed((text[1:-1].strip(),), rule="single_quotes")
        return Parsed((text,), rule="whole_answer")


@dataclass(frozen=True)
class FreeTextParser:
    """Reads a text: the whole answer without surrounding white space. Nothing, or a refusal, is unparsed."""

    def __call__(self, output: str, policy: ParsePolicy = "lenient") -> Parsed:
        """Read the text; both policies are the same but that ``strict`` takes a refusal for a text."""
        text = output.strip()
        if not text:
            return Parsed(None, rule="empty")
        if policy == "lenient" and is_refusal(text):
            return Parsed(None, refused=True, rule="refusal")
        return Parsed((text,), rule="whole_answer")
