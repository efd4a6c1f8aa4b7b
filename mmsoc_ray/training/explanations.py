"""Which of a teacher's explanations are fit to be learnt: pure rules, the first that applies decides.

How MM-Soc filtered GPT-4V's explanations was NOT FOUND, so the rules are ours. None of them says that an explanation is
right: they find those that cannot be.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmsoc_ray.tasks import TEXT_WORDS, LabelParser, Task, normalise_tag
from mmsoc_ray.tasks.label_rules import form_at, is_negated, reading
from mmsoc_ray.tasks.task import CHARACTERS_PER_WORD
from mmsoc_ray.tasks.text import is_refusal, tokens

MIN_WORDS = 5
MAX_WORDS = TEXT_WORDS
"""As the first author's runner cuts explanations (LLaMA-Adapter@82a92a5): 128 words."""
MAX_CHARACTERS = MAX_WORDS * CHARACTERS_PER_WORD
"""Checked before anything else is looked at, so that what a hostile answer costs is bounded."""
MIN_CONTENT_WORDS = 2
RUN_WORDS = 6
"""Texts repeat each other where they share so many words in a row."""

REPEATED_SHARE = 0.25
"""Above that a text goes round in circles: SmolLM2-135M's texts that read so had 0.27 and more."""

_SENTENCE_END = re.compile(r"[.!?。！？][\"'”’)\]]*(?=\s|$)")
_TURN_MARK = re.compile(r"<[|/]?[A-Za-z_][\w ]{0,30}\|?>|\[/?INST\]|<</?SYS>>")
"""What chat templates and processors write themselves: learnt as text, it could end a turn or stand for a picture."""

_COMMON = (
    "a an the and or but of to in on for with as at by from it its this that these those there here is are was were be "
    "been being am has have had do does did not no non yes so because since due why how what which who i we you he she "
    "they me my your our their them can could may might would will shall should must very really potentially likely "
    "probably perhaps clearly simply just also think believe"
)
_OF_THE_MATTER = (
    "answer label tag tags explanation reason reasons right correct meme image picture photo post tweet news text pair "
    "video sentiment considered seen viewed classified labelled labeled called"
)
_WITHOUT_CONTENT = frozenset(f"{_COMMON} {_OF_THE_MATTER}".split())


@dataclass(frozen=True)
class Explained:
    """What a teacher was asked about a post, and said.

    Attributes:
        task: The task whose right answer is explained.
        reference: The post's right answer: a label, or tags.
        question: Why that is the answer.
        prompt: All that the teacher was asked, the post's texts and the question.
        with_picture: Whether the post's picture was shown.
        output: What it said; None where the request failed.
        finished: Whether it ended by itself, and was not cut at ``max_new_tokens``.
    """

    task: Task
    reference: Sequence[str]
    question: str
    prompt: str
    with_picture: bool
    output: str | None
    finished: bool = True

    @functools.cached_property
    def text(self) -> str:
        """What it said as one line, an unfinished last sentence left out; empty where the request failed."""
        line = " ".join((self.output or "").split())
        return line if self.finished else line[: max((m.end() for m in _SENTENCE_END.finditer(line)), default=0)]

    @functools.cached_property
    def words(self) -> list[str]:
        """The folded words of the text."""
        return _words(self.text)


@dataclass(frozen=True)
class Rule:
    """A rule by which an explanation is left out.

    Attributes:
        name: Stands in reports.
        statement: What it finds.
        finds: Whether it finds that.
    """

    name: str
    statement: str
    finds: Callable[[Explained], bool]


@dataclass(frozen=True)
class Verdict:
    """What became of an explanation.

    Attributes:
        explanation: As it is learnt, in one line; None where it was left out.
        rule: Name of the rule that left it out, or None.
        shortened: Whether an unfinished last sentence was left out.
    """

    explanation: str | None
    rule: str | None = None
    shortened: bool = False


def judge(said: Explained) -> Verdict:
    """Return an explanation as it is learnt, or the first rule that leaves it out."""
    for rule in EXPLANATION_RULES:
        if rule.finds(said):
            return Verdict(None, rule.name)
    return Verdict(said.text, shortened=not said.finished and said.text != " ".join((said.output or "").split()))


def _words(text: str) -> list[str]:
    return [word for word in tokens(text) if word[0].isalnum()]


def _too_long(said: Explained) -> bool:
    return len((said.output or "").strip()) > MAX_CHARACTERS or len(said.words) > MAX_WORDS


def _nothing_shown(said: Explained) -> bool:
    return not said.with_picture and said.prompt == said.question


def _holds_marks(said: Explained) -> bool:
    return bool(_TURN_MARK.search(said.text)) or any(unicodedata.category(sign) == "Cc" for sign in said.text)


def _runs(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all that many words in a row; of a shorter text the whole."""
    return [tuple(words[at : at + RUN_WORDS]) for at in range(max(1, len(words) - RUN_WORDS + 1))]


def _repeats_prompt(said: Explained) -> bool:
    asked = f" {' '.join(_words(said.prompt))} "
    runs = _runs(said.words)
    return 2 * sum(f" {' '.join(run)} " in asked for run in runs) > len(runs)


def _repeats_itself(said: Explained) -> bool:
    runs = _runs(said.words)
    return len(runs) - len(set(runs)) > len(runs) * REPEATED_SHARE


def _label_words(said: Explained) -> set[str]:
    names = list(said.reference)
    if isinstance(said.task.parse, LabelParser):
        return {word for form in said.task.parse.words.forms for word in form} | set(_words(" ".join(names)))
    return set(_words(" ".join(names)))


def _only_the_label(said: Explained) -> bool:
    known = _WITHOUT_CONTENT | _label_words(said) | set(_words(said.question))
    return len(set(said.words) - known) < MIN_CONTENT_WORDS


def _contradicts(said: Explained) -> bool:
    if said.task.kind == "classification":
        return said.task.parse(said.text, "lenient").value not in (None, said.reference[0]) or _denies(said)
    right = {normalise_tag(tag) for tag in said.reference}
    vocabulary = {normalise_tag(tag) for tag in said.task.labels or said.task.vocabulary}
    text = f" {' '.join(said.words)} "
    named = {tag for tag in vocabulary | right if f" {' '.join(_words(tag))} " in text}
    return right <= vocabulary and bool(named) and not named & right


def _denies(said: Explained) -> bool:
    """Whether one of three labels or more is denied that is the right one; of two, to deny one claims the other."""
    if not isinstance(said.task.parse, LabelParser) or said.task.parse.words.opposite:
        return False
    words, label = said.task.parse.words, said.reference[0]
    return any(
        (form_at(sentence, at, words) or ("", 0))[0] == label and is_negated(sentence, at)
        for sentence in reading(said.text, words).sentences
        for at in range(len(sentence))
    )


EXPLANATION_RULES: tuple[Rule, ...] = (
    Rule("failed", "the request failed", lambda said: said.output is None),
    Rule("nothing_shown", "the teacher was shown neither a picture nor a text of the post", _nothing_shown),
    Rule("empty", "nothing was said", lambda said: not (said.output or "").strip()),
    Rule("too_long", f"more than {MAX_WORDS} words or {MAX_CHARACTERS} characters", _too_long),
    Rule("refused", "the teacher declined", lambda said: is_refusal(" ".join((said.output or "").split()))),
    Rule("unfinished", "cut before its first sentence ended; of others the whole sentences stay", lambda s: not s.text),
    Rule("marks", "holds marks of a chat template or control characters", _holds_marks),
    Rule(
        "contradicts",
        "claims another label, as the task's parser reads it, or denies the right one; or names only other tags",
        _contradicts,
    ),
    Rule(
        "only_the_label",
        f"fewer than {MIN_CONTENT_WORDS} words of content beside those of the labels and of the question",
        _only_the_label,
    ),
    Rule("repeats_prompt", f"most of its runs of {RUN_WORDS} words stand in the prompt", _repeats_prompt),
    Rule("repeats_itself", f"more than a quarter of its runs of {RUN_WORDS} words stand in it before", _repeats_itself),
    Rule("too_short", f"fewer than {MIN_WORDS} words", lambda said: len(said.words) < MIN_WORDS),
)
"""All rules in the order in which they are tried. Each needs what the ones before it have made sure of."""
