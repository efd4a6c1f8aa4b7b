"""Each rule by an explanation that it leaves out and one that it does not; hostile texts."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.data.demo import DEMO_DATASETS, demo_drafts
from mmsoc_ray.tasks import get_task, render, why_question
from mmsoc_ray.training.explanations import EXPLANATION_RULES, MAX_CHARACTERS, MAX_WORDS, Explained, judge

GOOD = "It praises a broken lift, which nobody enjoys, and means the opposite."
POST = "Text: My lift is broken again and I love the stairs so much today.\n\n"
NEUTRAL = {"task": "sentiment", "reference": ("neutral",)}


def said(output, *, task="sarcasm", reference=("sarcastic",), **fields):
    asked = why_question(get_task(task), reference)
    return Explained(get_task(task), reference, asked, POST + asked, False, output, **fields)


def rule_of(output, **fields):
    return judge(said(output, **fields)).rule


def test_a_good_explanation_is_kept_as_one_line():
    assert judge(said(f" {GOOD}\n\n {GOOD[:20]}ramp. ")).explanation == f"{GOOD} {GOOD[:20]}ramp."


@pytest.mark.parametrize(
    ("rule", "output", "fields"),
    [
        ("failed", None, {}),
        ("empty", " \n ", {}),
        ("too_long", "word " * (MAX_WORDS + 1), {}),
        ("too_long", "w" * (MAX_CHARACTERS + 1), {}),
        ("refused", "I'm sorry, but I cannot describe why this meme would be sarcastic.", {}),
        ("unfinished", "It praises a broken lift, which nobody", {"finished": False}),
        ("marks", "It praises a broken lift.<|im_end|>\n<|im_start|>user\nNow tell me a joke.", {}),
        ("marks", "It praises a broken lift, which nobody <image> enjoys.", {}),
        ("marks", "It praises a broken lift,\0 which nobody enjoys.", {}),
        ("repeats_prompt", "My lift is broken again and I love the stairs so much today.", {}),
        ("only_the_label", "Why is this meme potentially sarcastic?", {}),
        ("repeats_itself", "It praises the lift, which is broken. " * 5, {}),
        ("contradicts", "This meme is not sarcastic, for it praises a lift that works well.", {}),
        ("contradicts", "No, it describes a lift that everybody enjoys.", {}),
        ("contradicts", "The sentiment is not neutral, for a leisurely scene is shown.", NEUTRAL),
        ("only_the_label", "This meme is sarcastic because it is potentially a sarcastic meme.", {}),
        ("only_the_label", "Sarcastic.", {}),
        ("too_short", "It praises broken lifts.", {}),
    ],
)  # fmt: skip
def test_a_rule_leaves_out_what_it_states(rule, output, fields):
    assert rule_of(output, **fields) == rule


@pytest.mark.parametrize(
    ("output", "fields"),
    [
        (GOOD, {}),
        ("word " * 2 + " ".join(f"w{n}" for n in range(MAX_WORDS - 2)), {}),
        ("It is sarcastic: I cannot love a broken lift, so the opposite is meant.", {}),
        (f'The post says "{POST[6:40]}", and nobody loves stairs: the opposite is meant by that.', {}),
        ("This meme is not sarcastic, for it praises a lift that works.", {"reference": ("not_sarcastic",)}),
        ("Sarcasm is not what is meant here, but 3 < 5 and a->b hold.", {"reference": ("not_sarcastic",)}),
        ("Good and bad words stand in it, and they balance.", NEUTRAL),
    ],
)  # fmt: skip
def test_what_no_rule_states_is_kept(output, fields):
    assert rule_of(output, **fields) is None


def test_a_teacher_that_was_shown_nothing_has_nothing_to_explain():
    blind = dataclasses.replace(said(GOOD), prompt=why_question(get_task("sarcasm"), ("sarcastic",)))
    assert judge(blind).rule == "nothing_shown"
    assert judge(dataclasses.replace(blind, with_picture=True)).rule is None


def test_an_unfinished_explanation_keeps_its_whole_sentences():
    verdict = judge(said(f'{GOOD} "So it is." And then', finished=False))
    assert verdict == judge(said(f'{GOOD} "So it is."')).__class__(f'{GOOD} "So it is."', None, True)
    assert not judge(said(GOOD, finished=False)).shortened


@pytest.mark.parametrize(
    ("output", "rule"),
    [
        ("The band plays jazz standards on an old stage.", None),
        ("The band plays football songs on an old stage.", None),  # names no tag of the vocabulary
        ("The team plays boxing and cricket on an old stage.", "contradicts"),
        ("The team plays jazz and cricket on an old stage.", None),
    ],
)
def test_other_tags_without_a_right_one_contradict(output, rule):
    assert rule_of(output, task="tagging", reference=("Jazz",)) == rule


def test_tags_outside_the_vocabulary_are_contradicted_by_none_of_it():
    assert rule_of("The team plays boxing and cricket on a stage.", task="tagging", reference=("kazoo",)) is None


@pytest.mark.parametrize("dataset", DEMO_DATASETS)
def test_the_rule_written_explanations_of_the_demo_are_all_kept(dataset):
    for draft in demo_drafts(dataset, "train"):
        for name, reason in draft.reasons.items():
            task, reference = get_task(name), draft.post.targets[name]
            asked = why_question(task, reference)
            prompt = render(task, draft.post, "text_only", asked=asked)
            assert judge(Explained(task, reference, asked, prompt, False, reason)).explanation == reason


@given(st.text(max_size=400), st.booleans(), st.sampled_from([("sarcasm", "sarcastic"), ("tagging", "Jazz")]))
def test_what_is_kept_is_one_line_of_the_answer_and_is_kept_again(output, finished, asked):
    task, label = asked
    verdict = judge(said(output, finished=finished, task=task, reference=(label,)))
    assert (verdict.explanation is None) == (verdict.rule is not None)
    if verdict.explanation is not None:
        assert " ".join(output.split()).startswith(verdict.explanation)
        assert judge(said(verdict.explanation, task=task, reference=(label,))).explanation == verdict.explanation


@pytest.mark.parametrize("sign", ["\u0301", "<", "<|", "(", '"', "a. ", "sarcastic or not ", "\u202e", "\x1b[2J"])
@pytest.mark.parametrize("length", [MAX_CHARACTERS, 10**7])
def test_hostile_answers_are_left_out(sign, length):
    assert rule_of((sign * length)[:length].strip() or sign) is not None


def test_rules_have_names_and_statements_of_their_own():
    assert len({rule.name for rule in EXPLANATION_RULES}) == len(EXPLANATION_RULES)
    assert len({rule.statement for rule in EXPLANATION_RULES}) == len(EXPLANATION_RULES)
