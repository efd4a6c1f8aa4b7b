"""How answers are read: one case for each rule and each habit of models."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsoc_ray.tasks import (
    LABEL_RULES,
    TASKS,
    FreeTextParser,
    LabelRule,
    QuotedTextParser,
    TagParser,
    get_task,
    normalise_tag,
)

HUMOR = get_task("humor").parse
HATE = get_task("hate_speech").parse
NEWS = get_task("misinformation").parse
SENTIMENT = get_task("sentiment").parse

HUMOROUS = [
    "humorous",
    "HUMOROUS",
    "'humorous'",
    '"humorous".',
    "“humorous”",
    "«humorous»",
    "‘Humorous’",
    "ｈｕｍｏｒｏｕｓ",
    "hum\u200borous",
    "**humorous**",
    "  humorous\n",
    "Answer: humorous",
    "Answer: 'humorous'.",
    "The answer is humorous",
    "Final answer: humorous",
    "This meme is humorous.",
    "This meme is humorous because the cat looks surprised.",
    "Yes",
    "Yes.",
    "Yes, it is.",
    "yes this meme is humorous",
    "Yes, this meme is funny.",
    "Is this meme humorous? Answer 'humorous' or 'not_humorous'. humorous",
    "Question: Is this meme humorous? Answer: humorous",
    "humorous\n\nQuestion: Is this meme sarcastic? Answer: not_humorous",
    "humorous\nExplanation: it is not humorous to everyone, though.",
    "It is not not_humorous.",
    "<answer>humorous</answer>",
    "humorous</s>",
    "humorous<|im_end|>",
    "Humorous: yes",
    "Yeah, it is.",
    "Of course.",
    "I'd say yes.",
    "I would say yes, it is funny.",
    "The answer to the question is yes.",
    '{"humorous": true}',
    "humorous = yes",
    "It never fails to be humorous.",
    "Not only is this humorous, it is hilarious.",
    "Instead of being serious, it is humorous.",
    "It shows a sad man, so yes.",
]

NOT_HUMOROUS = [
    "not_humorous",
    "Not_Humorous.",
    "not humorous",
    "not-humorous",
    "non-humorous",
    "‘not_humorous’",
    "Answer: not_humorous",
    "The answer is 'not_humorous'.",
    "No",
    "No, it is not.",
    "No, this meme is not humorous.",
    "No — nothing in it is funny, it is not humorous",
    "This meme is not humorous.",
    "This meme isn't humorous.",
    "This meme isn’t funny.",
    "I don't think this meme is humorous.",
    "The meme is not particularly humorous, it states a fact.",
    "It does not appear to be humorous.",
    "It cannot be considered humorous.",
    "Answer: not humorous. Explanation: one could say it is humorous.",
    "NotHumorous",
    "nothumorous.",
    "Humorous: no",
    "Humorous: No. Sarcastic: yes.",
    "Nope.",
    "Not really.",
    "Not at all, it states a fact.",
    "Absolutely not.",
    "I would say no.",
    "The answer to this question is no.",
    '{"humorous": false}',
    "{'is_humorous': False}",
    "humorous: 0",
    "humorous = no",
    "un-humorous",
    "not\nhumorous",
    "The meme is far from humorous.",
    "The meme fails to be humorous.",
    "It is anything but humorous.",
    "It is serious rather than humorous.",
    "I would not call this humorous.",
    "I wouldn't say it's humorous.",
    "No one would find this humorous.",
    "It only quotes a humorous man, so no.",
]

UNPARSED = [
    "",
    "   \n",
    "...",
    "a cat on a table",
    "humorous, not_humorous",
    "humorous\nnot_humorous",
    "humorous or not_humorous",
    "humorous/not_humorous",
    "Whether it is humorous or not depends.",
    "Yes, this meme is not humorous.",
    "It is both humorous and not humorous.",
    "Is this meme humorous?",
    "There is no text in the picture.",
    "No text is visible",
    "I know the answer.",
    "It is hard to say whether the meme is humorous.",
    "Humorous: no\nNot humorous: no",
    "Not everyone laughs.",
    "Humorous: 0.3, not humorous: 0.7",
]


@pytest.mark.parametrize("output", HUMOROUS)
def test_positive_label_is_read(output: str) -> None:
    assert HUMOR(output).value == "humorous"


@pytest.mark.parametrize("output", NOT_HUMOROUS)
def test_negation_wins_over_the_contained_positive(output: str) -> None:
    assert HUMOR(output).value == "not_humorous"


@pytest.mark.parametrize("output", UNPARSED)
def test_answer_without_one_clear_label_is_unparsed(output: str) -> None:
    parsed = HUMOR(output)
    assert parsed.values is None
    assert not parsed.refused


@pytest.mark.parametrize(
    "output",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot assist with this request.",
        "As an AI language model, I do not have opinions on what is humorous.",
        "I cannot determine whether this meme is humorous.",
        "I am unable to see images, so I can't say if it is humorous.",
        "Sorry, humorous content is hard to judge.",
        "I can't answer that.",
    ],
)
def test_refusal_is_unparsed_and_marked(output: str) -> None:
    parsed = HUMOR(output)
    assert parsed.values is None
    assert parsed.refused


@pytest.mark.parametrize("rule", LABEL_RULES, ids=lambda rule: rule.name)
def test_each_rule_decides_its_example(rule: LabelRule) -> None:
    assert HUMOR(rule.example).rule == rule.name


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ("Yes", "hateful"),
        ("No.", "not_hateful"),
        ("hateful", "hateful"),
        ("not hateful", "not_hateful"),
        ("This meme does not contain any hateful content.", "not_hateful"),
        ("The meme is hate speech.", "hateful"),
    ],
)
def test_yes_no_question_is_answered_by_word_or_label(output: str, label: str) -> None:
    assert HATE(output).value == label


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ("Yes. The meme is not hateful.", None),
        ("No. The meme is hateful.", None),
        ("Yes, I think so. However, the meme is not hateful.", None),
        ("No. This is hate speech.", None),
        ("No. The meme is not hateful.", "not_hateful"),
        ("Yes. The meme is hateful and not funny.", "hateful"),
        ("No. The meme may be hateful to some.", "not_hateful"),
        ("Yes. It is not hateful to everyone.", "hateful"),
    ],
)
def test_a_stated_other_label_contradicts_and_a_hedge_does_not(output: str, label: str | None) -> None:
    assert HATE(output).value == label


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ("Yes", "fake"),
        ("No", "true"),
        ("The news is fake.", "fake"),
        ("This is real news.", "true"),
        ("This is not misinformation.", "true"),
        ("This news is not true.", "fake"),
        ("This is misinformation.", "fake"),
    ],
)
def test_news_is_read_by_the_official_words(output: str, label: str) -> None:
    assert NEWS(output).value == label


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ("Neutral", "neutral"),
        ("The overall sentiment expressed through this meme is positive.", "positive"),
        ("It is not positive but negative.", "negative"),
        ("not positive", None),
        ("yes", None),
        ("positive or neutral", None),
        ("Positive: no\nNeutral: yes\nNegative: no", "neutral"),
        ("Positive: no", None),
        ("Positive: no, Neutral: yes, Negative: no", "neutral"),
        ('{"positive": false, "neutral": true, "negative": false}', "neutral"),
        ("Negative: 0.2, Positive: 0.8", None),
        ("neutral rather than positive", "neutral"),
    ],
)
def test_negation_among_three_labels_only_excludes(output: str, label: str | None) -> None:
    assert SENTIMENT(output).value == label


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ("not_humorous", "not_humorous"),
        (" 'Humorous'. ", "humorous"),
        ("not humorous", None),
        ("Yes", None),
        ("Answer: humorous", None),
        ("This meme is humorous.", None),
    ],
)
def test_strict_takes_the_asked_word_only(output: str, label: str | None) -> None:
    assert HUMOR(output, "strict").value == label


def test_strict_takes_yes_where_the_prompt_asks_for_it() -> None:
    assert HATE("YES.", "strict").value == "hateful"
    assert HATE("hateful", "strict").values is None


@pytest.mark.parametrize(
    ("output", "tags"),
    [
        ("sports,tennis,french-open", ("sports", "tennis", "french open")),
        ('"Sports, Tennis"', ("sports", "tennis")),
        ("“Sports”, “Tennis”", ("sports", "tennis")),
        ("sports, Sports, SPORTS.", ("sports",)),
        ("french-open, french open, french_open", ("french open",)),
        ("Tags: sports, tennis", ("sports", "tennis")),
        ("#sports, #tennis", ("sports", "tennis")),
        ("- sports\n- tennis", ("sports", "tennis")),
        ("1. sports\n2) tennis", ("sports", "tennis")),
        ("90s music, 4k", ("90s music", "4k")),
        ("sports，tennis、golf；", ("sports", "tennis", "golf")),
        ('{"tags": ["sports", "tennis"]}', ("sports", "tennis")),
        ("**Tags:** sports, tennis", ("sports", "tennis")),
        ("Here are the tags: sports, tennis", ("sports", "tennis")),
        ("#sports #tennis", ("sports", "tennis")),
        ("sports | tennis", ("sports", "tennis")),
        ("sports، tennis", ("sports", "tennis")),
        ("sports, tennis, and golf", ("sports", "tennis", "golf")),
        ("caf\u00e9, cafe\u0301", ("caf\u00e9",)),
        (", ,,", None),
        ("", None),
        ("x" * 65, None),
        ("I'm sorry, I can't help with that, sports", None),
    ],
)
def test_tags_are_split_and_normalised(output: str, tags: tuple[str, ...] | None) -> None:
    assert TagParser()(output).values == tags


def test_tags_are_bounded() -> None:
    assert len(TagParser()(",".join(map(str, range(10_000)))).values or ()) == 100


def test_strict_tags_are_split_at_commas_only() -> None:
    assert TagParser()("a\nb,c", "strict").values == ("a b", "c")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ('"when the cat"', "when the cat"),
        ("“when the cat”", "when the cat"),
        ('The text in the image is "when the cat".', "when the cat"),
        ('"when the" and "cat"', "when the cat"),
        ('The text says "when the cat and then', "when the cat and then"),
        ("when the cat", "when the cat"),
        ('""', ""),
        ("'when the cat'", "when the cat"),
        ('5" of snow', '5" of snow'),
        ('{"text": "when the cat"}', "when the cat"),
        (r'"he said \"no\""', "he said 'no'"),
        ("There is no text in the image.", ""),
        ("I'm sorry, Dave", "I'm sorry, Dave"),
        ("I'm sorry, I cannot read the text in the image.", None),
        ("", None),
    ],
)
def test_ocr_takes_what_is_quoted(output: str, text: str | None) -> None:
    assert QuotedTextParser()(output).value == text


@pytest.mark.parametrize(("output", "text"), [('"a b"', "a b"), ('It says "a b"', None), ("a b", None), ("", None)])
def test_strict_ocr_wants_the_quotes(output: str, text: str | None) -> None:
    assert QuotedTextParser()(output, "strict").value == text


def test_free_text_is_stripped_and_a_refusal_is_none() -> None:
    assert FreeTextParser()("  A cat.\n").value == "A cat."
    assert FreeTextParser()(" \n").values is None
    assert FreeTextParser()("I'm sorry, I can't describe this image.").refused


WORDS = st.sampled_from(
    [
        "humorous",
        "not",
        "not_humorous",
        "yes",
        "no",
        "answer",
        ":",
        "is",
        ",",
        ".",
        "\n",
        "or",
        "question",
        '"',
        "?",
        "’",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join)), st.sampled_from(["strict", "lenient"]))
def test_no_text_makes_a_parser_raise_or_answer_outside_its_labels(output: str, policy: str) -> None:
    for task in TASKS.values():
        parsed = task.parse(output, policy)  # type: ignore[arg-type]
        assert not (parsed.values is None and not parsed.rule)
        if task.kind == "classification" and parsed.values is not None:
            assert parsed.value in task.labels


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20), st.sampled_from(sorted(TASKS)))
def test_case_and_surrounding_white_space_do_not_matter(output: str, name: str) -> None:
    task = TASKS[name]
    if task.kind == "classification" and output.isascii():
        assert task.parse(f"  {output.upper()}\n").values == task.parse(output.lower()).values


@pytest.mark.parametrize(
    "unit",
    ["a", " ", "\n", "not ", "humorous ", "answer: ", "question: ", "answer is ", '"', "\u0301\u0323", "n't", "-",
     " - ", "yes, ", "or humorous ", "i can not ", "１", "🙂", "Tags: ", ",",
     "far from ", "humorous: ", ", so no ", "not\n", "#a ", "1. "],
)  # fmt: skip
def test_a_megabyte_of_hostile_text_is_read_in_seconds(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))

    started = time.process_time()
    for name in ("humor", "tagging", "ocr", "image_description"):
        TASKS[name].parse(text)
    # Half a second where the machine is idle; quadratic work would take minutes.
    assert time.process_time() - started < 20


def test_only_tags_of_a_bounded_length_are_composed() -> None:
    """On hostile runs of combining marks that takes quadratic time."""
    assert normalise_tag("cafe\u0301") == "caf\u00e9"
    assert normalise_tag("e\u0301" * 1000) == "e\u0301" * 1000
