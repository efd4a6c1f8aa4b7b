"""What a task is, and how its question about a post is put into words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mmsoc_ray.tasks.settings import base_setting

if TYPE_CHECKING:
    from mmsoc_ray.data import Post
    from mmsoc_ray.tasks.parsing import AnswerParser

TaskKind = Literal["classification", "tagging", "ocr", "free_text"]

TEXT_WORDS = 128
"""Words of a post's text that enter a prompt (MM-Soc's ``text_input_length`` default)."""

CHARACTERS_PER_WORD = 16
"""A text of N allowed words is also cut at N times so many characters, so that scripts without spaces, and junk, stay
bounded. Our choice; MM-Soc counts words only."""

SENTENCE_ENDS = (".", ",", ":", ";", "?", "!", "|")


@dataclass(frozen=True)
class Task:
    """One task: what is asked, how answers are read and how they are scored.

    Attributes:
        name: Identifier, for example ``hate_speech``.
        kind: Decides the shape of references and which metrics exist.
        prompt: The official question, to the letter.
        description: One sentence for people.
        source: Where prompt and labels come from.
        parse: Reads an answer: ``task.parse(output, policy)``.
        metrics: Names of the metrics of a cell of this task, in the order in which they are shown.
        max_new_tokens: Answers are cut after so many tokens (our default; MM-Soc uses 128 for all tasks).
        labels: Target values of a classification in order; empty for other kinds, whose targets are open.
        answers: Label to the word that the official prompt asks for.
        positive: Label whose probability is a row's ``score``; None where no label stands out.
        uses_text: Whether the poster's text stands in the official zero-shot prompt.
        variants: Further prompts by name.
        text_variants: Variants whose zero-shot prompt holds the poster's text.
        vocabulary: Tags of a tagging task whose data use these and no others: macro F1 and Hamming loss are over all of
            them. Other data may have other tags, and are scored over those of their references.
    """

    name: str
    kind: TaskKind
    prompt: str
    description: str
    source: str
    parse: AnswerParser = field(hash=False)
    metrics: tuple[str, ...]
    max_new_tokens: int
    labels: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict, hash=False)
    positive: str | None = None
    uses_text: bool = False
    variants: Mapping[str, str] = field(default_factory=dict, hash=False)
    text_variants: frozenset[str] = frozenset()
    vocabulary: tuple[str, ...] = ()

    def question(self, variant: str = "official") -> str:
        """Return the question of a prompt variant; ``official`` is the prompt of the source.

        Raises:
            ValueError: The task has no such variant; the message names the allowed ones.
        """
        if variant == "official":
            return self.prompt
        if variant in self.variants:
            return self.variants[variant]
        allowed = ", ".join(["official", *self.variants])
        raise ValueError(f"task {self.name!r} has no prompt variant {variant!r}. Allowed: {allowed}")


def truncate_input(text: str, words: int = TEXT_WORDS) -> str:
    """Return the first words of a text with white space normalised, ended like a sentence.

    As MM-Soc's function of this name: the first ``words`` words are kept, and a full stop is added where the result
    does not end with one of ``.,:;?!|``. Bounded besides by ``CHARACTERS_PER_WORD``. Unlike there, white space around
    the text is dropped (it counted as an empty word, and stayed before the full stop), and an empty text stays empty.

    Raises:
        ValueError: ``words`` is below 1.
    """
    if words < 1:
        raise ValueError(f"text_words is {words}; it must be at least 1")
    # The characters are cut first: a megabyte of text must not be split into words only to be thrown away.
    head = text.lstrip()[: 4 * words * CHARACTERS_PER_WORD]
    kept = " ".join(head.split(maxsplit=words)[:words])[: words * CHARACTERS_PER_WORD].rstrip()
    return kept if not kept or kept.endswith(SENTENCE_ENDS) else kept + "."


def render(
    task: Task,
    post: Post,
    setting: str,
    *,
    variant: str = "official",
    words: str | None = None,
    text_words: int = TEXT_WORDS,
    asked: str | None = None,
) -> str:
    """Return what a user asks about a post, without any model's own wrapping.

    How MM-Soc joins a post's text to the question was not found: its ``get_prompt`` is empty, and an earlier runner
    puts the text where the question belongs and asks nothing. Ours: one line ``Text: ...`` with the poster's text, one
    line ``Text in the image: ...`` with the words in the picture, an empty line, the question. So the question stands
    nearest to the answer, and the tasks of one post share a long prefix. Each text is cut by ``truncate_input``; a text
    that is absent or blank leaves no line.

    Which texts stand there:

    * ``zero_shot``: the poster's text where the task's official prompt speaks of it (``uses_text``) or the variant is
      about a text (``text_variants``).
    * ``image_only``: none.
    * ``text_only``: the poster's text and the source's transcription.
    * ``with_ocr``: the poster's text and ``words``.

    The transcription is the answer of the task ``ocr`` and so never stands in its prompt.

    Args:
        task: The task.
        post: The post.
        setting: Any setting; a numbered one renders as ``zero_shot``, what stands before it is added elsewhere.
        variant: Which of the task's prompts.
        words: What an OCR engine read in the picture; used by ``with_ocr`` only.
        text_words: Bound on the words of each text.
        asked: What is asked instead of the task's question.

    Raises:
        ValueError: The setting or the variant is not known.
    """
    setting = base_setting(setting)
    question = task.question(variant) if asked is None else asked
    shows_text = setting in ("text_only", "with_ocr") or (
        setting == "zero_shot" and (task.uses_text or variant in task.text_variants)
    )
    text = post.text if shows_text else None
    in_picture = None
    if setting == "with_ocr":
        in_picture = words
    elif setting == "text_only" and task.kind != "ocr":
        in_picture = post.transcription
    named = (("Text", text), ("Text in the image", in_picture))
    shortened = ((name, truncate_input(value, text_words)) for name, value in named if value)
    lines = [f"{name}: {value}" for name, value in shortened if value]
    return "\n".join([*lines, "", question]) if lines else question
