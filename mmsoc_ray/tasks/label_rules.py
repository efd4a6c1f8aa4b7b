"""The table of rules by which a label is read out of what a model says.

An answer is folded (case, quotes, full-width forms), cut into words and sentence marks, and divided into sentences.
Questions in it are dropped, for a model often repeats what it was asked; so is what follows when a model goes on to
ask itself another question. Every rule looks at each word a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmsoc_ray.tasks.text import bare, is_refusal, tokens
from mmsoc_ray.tasks.yes_no import spoken_yes_no

Tokens = Sequence[str]

SENTENCE_MARKS = frozenset(".!?;:\n")
PAUSES = frozenset(",()")
OPTIONS = frozenset(("or", "/"))
NEGATORS = frozenset(
    (
        *(
            "not",
            "non",
            "un",
            "anti",
            "never",
            "no",
            "nothing",
            "none",
            "neither",
            "nor",
            "hardly",
            "barely",
            "without",
            "nobody",
        ),
        *("isnt", "arent", "doesnt", "dont", "wouldnt", "lack", "lacks", "lacking", "devoid"),
    )
)
NEGATING_PAIRS = frozenset(
    (
        *(("far", "from"), ("anything", "but"), ("rather", "than"), ("instead", "of"), ("opposite", "of")),
        *((fail, to) for fail in ("fail", "fails", "failed", "failing") for to in ("to", "at")),
    )
)
"""Two words that negate as one does; negated themselves ("never fails to be") they affirm."""
NEGATION_REACH = 7
"""A negator works over so many words between it and the label, if all of them are among ``BETWEEN``."""
_BETWEEN = (
    "a actually all an any anything appear are as at be being believe call called classed classified classify "
    "clearly come consider considered contain content convey could deem deemed describe described especially even "
    "exactly explicitly express feel find finds found generally image in inherently intended intrinsically is it "
    "its look make meant meme necessarily news obviously of one overly overtly particularly perceived post "
    "present promote quite read really regard regarded remotely s say see seem seen show so sound that the these "
    "they think this to truly tweet typically very viewed way would"
)
BETWEEN = frozenset(_BETWEEN.split())
MARKERS = frozenset(("answer", "label", "classification", "verdict", "category", "prediction", "conclusion"))
UNDECIDED = frozenset(("whether", "if"))
"""A label after one of these, as in "hard to say whether it is humorous", is no claim; it reaches as a negator does."""
TO_THE_QUESTION = (("to", "the", "question"), ("to", "this", "question"), ("to", "your", "question"))
"""May stand between a marker and its link: "the answer to the question is no"."""
THEREFORE = frozenset(("so", "thus", "hence", "therefore"))
LINKS = frozenset(("is", "be", "would", "should", "will", "must"))
TRUTH = {"true": "yes", "false": "no", "1": "yes", "0": "no"}
"""How JSON and the like say yes and no behind a label's name."""
AFTER_YES_NO = frozenset(("this", "that", "it", "the", "i", "there", "because", "since", "as"))
_SUBJECTS = (
    "a an the this that it its i meme memes image picture photo post tweet news item content text story article "
    "video caption sentiment overall message"
)
_COPULAS = "is are s was does do contain contains seem seems look looks appear appears to be would say think believe"
_ADVERBS = "not no non clearly definitely certainly really any all at but however , so"
_PLAIN = frozenset(f"{_SUBJECTS} {_COPULAS} {_ADVERBS}".split())
_AFTER_PLAIN = frozenset((*_SUBJECTS.split(), *PAUSES, "because", "since", "as", "and", "at"))
"""What may stand before and behind the label of a sentence that says nothing but which label it is."""


@dataclass(frozen=True)
class LabelWords:
    """The words that stand for the labels of one task.

    Attributes:
        asked: Word that the prompt asks for, folded, to label.
        forms: Tokens of a label, of its asked word or of a synonym, to label; yes and no are apart.
        yes_no: ``yes`` and ``no`` to label, for a question that can be answered so; empty otherwise.
        opposite: Each label of a pair to the other; empty where there are more than two.
        longest: Tokens of the longest form.
    """

    asked: Mapping[str, str]
    forms: Mapping[tuple[str, ...], str]
    yes_no: Mapping[str, str]
    opposite: Mapping[str, str]
    longest: int


def label_words(
    labels: Sequence[str],
    answers: Mapping[str, str] | None = None,
    positive: str | None = None,
    synonyms: Mapping[str, Sequence[str]] | None = None,
) -> LabelWords:
    """Collect the words of a task.

    Args:
        labels: The labels, at least two.
        answers: Label to the word that the prompt asks for; a label that is absent is asked for by its own name.
        positive: Of two labels, the one that "yes" means.
        synonyms: Label to further words that ``lenient`` takes for it.

    Raises:
        ValueError: Fewer than two labels, a positive label that is none, or one word for two labels.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(f"labels {list(labels)} must be at least two different ones")
    if positive is not None and positive not in labels:
        raise ValueError(f"positive label {positive!r} is not one of {list(labels)}")
    asked: dict[str, str] = {}
    forms: dict[tuple[str, ...], str] = {}
    for label in labels:
        word = (answers or {}).get(label, label)
        if asked.setdefault(bare(word), label) != label:
            raise ValueError(f"labels {asked[bare(word)]!r} and {label!r} are both asked for by {word!r}")
        for name in (label, word, *(synonyms or {}).get(label, ())):
            form = tuple(tokens(name))
            if not any(word[0].isalnum() for word in form):
                raise ValueError(f"label {label!r}: {name!r} holds no word")
            for said in (form, ("".join(form),)):  # "not_humorous" is also said as "NotHumorous"
                if said not in (("yes",), ("no",)) and forms.setdefault(said, label) != label:
                    raise ValueError(f"labels {forms[said]!r} and {label!r} share the word {name!r}")
    opposite = {labels[0]: labels[1], labels[1]: labels[0]} if len(labels) == 2 else {}
    named = {word: label for word, label in asked.items() if word in ("yes", "no")}
    yes_no = named or ({"yes": positive, "no": opposite[positive]} if positive is not None and opposite else {})
    return LabelWords(asked, forms, yes_no, opposite, max(map(len, forms), default=1))


@dataclass(frozen=True)
class Reading:
    """An answer ready for the rules.

    Attributes:
        text: The answer as it came.
        sentences: Its sentences without their marks, questions left out.
        marks: The mark that ended each sentence, empty at the end of the answer.
    """

    text: str
    sentences: tuple[Tokens, ...]
    marks: tuple[str, ...]


def reading(output: str, words: LabelWords) -> Reading:
    """Divide an answer into sentences; drop questions and what follows a further ``Question:``."""
    sentences: list[list[str]] = []
    marks: list[str] = []
    current: list[str] = []
    answered = False
    for word in [*tokens(output), ""]:
        if word and word not in SENTENCE_MARKS:
            current.append(word)
            continue
        if word == "\n" and current in (["not"], ["non"]):  # a line break inside a label
            continue
        if answered and current == ["question"] and word == ":":
            break
        if current and word != "?":
            sentences.append(current)
            marks.append(word)
            answered = answered or bool(claims(current, words))
        current = []
    return Reading(output, tuple(sentences), tuple(marks))


def form_at(said: Tokens, at: int, words: LabelWords) -> tuple[str, int] | None:
    """Return label and length of the longest form that begins at a token, so ``not humorous`` before ``humorous``."""
    for length in range(min(words.longest, len(said) - at), 0, -1):
        label = words.forms.get(tuple(said[at : at + length]))
        if label is not None:
            return label, length
    return None


def is_reached(said: Tokens, at: int, reaching: frozenset[str]) -> bool:
    """Whether one of the words before a token reaches it over words that carry no meaning of their own."""
    for before in range(at - 1, max(-1, at - 2 - NEGATION_REACH), -1):
        if said[before] in reaching:
            return True
        if said[before] not in BETWEEN:
            return False
    return False


def is_negated(said: Tokens, at: int) -> bool:
    """Whether a negator or a negating pair reaches a token; a pair that is negated itself does not negate."""
    pairs = 0
    before = at - 1
    while before >= max(0, at - 1 - NEGATION_REACH):
        if said[before] in NEGATORS:
            return pairs % 2 == 0
        if before and (said[before - 1], said[before]) in NEGATING_PAIRS:
            pairs += 1
            before -= 2
            continue
        if said[before] not in BETWEEN:
            break
        before -= 1
    return pairs % 2 == 1


def mentions(said: Tokens, words: LabelWords) -> frozenset[str]:
    """Return the labels that a sentence claims.

    A negated label claims its opposite, or nothing where there are more than two labels. Labels joined by "or" or a
    slash are options, not claims; nor is a label after "whether" or "if".
    """
    found: set[str] = set()
    at = 0
    while at < len(said):
        match = form_at(said, at, words)
        if match is None:
            at += 1
            continue
        label, length = match
        after = at + length
        is_option = (at > 0 and said[at - 1] in OPTIONS) or (after < len(said) and said[after] in OPTIONS)
        if not is_option and not is_reached(said, at, UNDECIDED):
            meant = words.opposite.get(label) if is_negated(said, at) else label
            if meant is not None:
                found.add(meant)
        at = after
    return frozenset(found)


def opening(said: Tokens, words: LabelWords) -> tuple[str, int] | None:
    """Return label and length of the form, or the yes or no, with which a sentence begins and then pauses or ends."""
    if not said:
        return None
    match = form_at(said, 0, words)
    spoken = spoken_yes_no(said) if words.yes_no else None
    if match is None and spoken is not None:
        meaning, length = spoken
        if meaning in words.yes_no and (length == len(said) or said[length] in PAUSES | AFTER_YES_NO):
            return words.yes_no[meaning], length
    return match if match and (match[1] == len(said) or said[match[1]] in PAUSES) else None


def claims(said: Tokens, words: LabelWords) -> frozenset[str]:
    """Return what a sentence claims by its opening and its mentions together."""
    begun = opening(said, words)
    if begun is None:
        return mentions(said, words)
    label, length = begun
    return frozenset((label,)) | mentions(said[length:], words)


def union(found: Iterable[frozenset[str]]) -> frozenset[str] | None:
    """Return all labels found, or None where there are none."""
    return frozenset().union(*found) or None


def announced(answer: Reading, words: LabelWords) -> frozenset[str] | None:
    """Find what follows "Answer:", "the label is" and the like."""
    found: list[frozenset[str]] = []
    for index, said in enumerate(answer.sentences):
        if said[-1] in MARKERS and answer.marks[index] == ":" and index + 1 < len(answer.sentences):
            found.append(claims(answer.sentences[index + 1], words))
        # The last marker only: what stands after an earlier one holds the later one too.
        last = max((at for at, word in enumerate(said) if word in MARKERS), default=len(said))
        links = last + 1
        if tuple(said[links : links + 3]) in TO_THE_QUESTION:
            links += 3
        after = links
        while links < len(said) and said[links] in LINKS:
            links += 1
        if links > after:
            found.append(claims(said[links:], words))
    return union(found)


def told(said: Tokens) -> str | None:
    """Return the yes or no that stands behind a label and a colon, also as JSON says it; empty for another number."""
    if said[0] in TRUTH and (len(said) == 1 or said[1] in PAUSES):
        return TRUTH[said[0]]
    if said[0].isdecimal():
        return ""
    spoken = spoken_yes_no(said)
    return spoken[0] if spoken else None


def named(answer: Reading, words: LabelWords) -> frozenset[str] | None:
    """Find labels that are answered one by one: "hateful: no", "positive: no, neutral: yes", ``{"hateful": false}``.

    A label with another number than 0 and 1, as in "positive: 0.2", claims nothing.
    """
    found: list[frozenset[str]] = []
    for index, said in enumerate(answer.sentences[:-1]):
        if answer.marks[index] != ":":
            continue
        # "positive: no, neutral: yes" has the next label behind the last answer.
        start = max((at + 1 for at, word in enumerate(said) if word in PAUSES), default=0)
        head = said[start + (said[start : start + 1] == ["is"]) :]
        match = form_at(head, 0, words)
        value = told(answer.sentences[index + 1])
        if match is None or match[1] != len(head) or value is None:
            continue
        meant = {"yes": match[0], "no": words.opposite.get(match[0])}.get(value)
        found.append(frozenset() if meant is None else frozenset((meant,)))
    return frozenset().union(*found) if found else None  # of three labels one denied decides: nothing is claimed


def stated(said: Tokens, words: LabelWords) -> frozenset[str]:
    """Return the label of a sentence that plainly says which one it is, as "The meme is not hateful" does.

    A hedge ("may be humorous to some", "not humorous to everyone") states nothing.
    """
    for at in range(len(said)):
        match = form_at(said, at, words)
        if match is not None:
            after = said[at + match[1] :]
            return mentions(said[: at + match[1]], words) if not after or after[0] in _AFTER_PLAIN else frozenset()
        if said[at] not in _PLAIN:
            break
    return frozenset()


def with_stated(found: frozenset[str], answer: Reading, words: LabelWords) -> frozenset[str]:
    """Return the labels found with those that the answer states plainly, so that both are seen where they differ."""
    return found.union(*(stated(said, words) for said in answer.sentences))


def alone(answer: Reading, words: LabelWords) -> frozenset[str] | None:
    """Find sentences and lines that are nothing but a label, a yes or a no, if no sentence states another label."""
    found: list[frozenset[str]] = []
    for said in answer.sentences:
        begun = opening(said, words)
        if begun and begun[1] == len(said):
            found.append(frozenset((begun[0],)))
    return with_stated(frozenset().union(*found), answer, words) if found else None


def leading(answer: Reading, words: LabelWords) -> frozenset[str] | None:
    """Find a label, a yes or a no that opens the answer, if neither its sentence nor a stated label contradicts."""
    if answer.sentences and opening(answer.sentences[0], words):
        return with_stated(claims(answer.sentences[0], words), answer, words)
    return None


def concluded(answer: Reading, words: LabelWords) -> frozenset[str] | None:
    """Find a yes or a no that is drawn as a conclusion, as in "it only quotes one, so no"."""
    found: list[frozenset[str]] = []
    for said in answer.sentences:
        last = said[max((at + 1 for at, word in enumerate(said) if word in PAUSES), default=0) :]
        begun = opening(last[1:], words) if last and last[0] in THEREFORE else None
        if begun and begun[1] == len(last) - 1:
            found.append(frozenset((begun[0],)))
    return union(found)


def refusal(answer: Reading, words: LabelWords) -> frozenset[str] | None:
    """Find that the model declines to answer."""
    return frozenset() if is_refusal(answer.text) else None


def mentioned(answer: Reading, words: LabelWords) -> frozenset[str] | None:
    """Find the labels claimed anywhere."""
    return union(mentions(said, words) for said in answer.sentences)


@dataclass(frozen=True)
class LabelRule:
    """One rule.

    Attributes:
        name: Stands in ``Parsed.rule``.
        example: An answer of ``humor`` that the rule decides.
        find: Returns the labels found; an empty set for a refusal; None where the rule has nothing to say.
    """

    name: str
    example: str
    find: Callable[[Reading, LabelWords], frozenset[str] | None]


LABEL_RULES = (
    LabelRule("announced", "It shows a funny cat, so the answer is not_humorous. One may find it humorous.", announced),
    LabelRule("named", "Humorous: no. It is a plain statement.", named),
    LabelRule("alone", "No.\nThe picture may be humorous to some.", alone),
    LabelRule("leading", "Yes, this meme is funny. It is not humorous to everyone.", leading),
    LabelRule("concluded", "It only quotes a humorous man, so no.", concluded),
    LabelRule("refusal", "I'm sorry, but I cannot judge whether a person is humorous.", refusal),
    LabelRule("mentioned", "I do not think that this meme is humorous, since nothing happens.", mentioned),
)
"""All rules of ``lenient``, in the order in which they are tried, after the asked word itself."""
