"""Self-improvement: how an answer is given back."""

import pytest

from mmsoc_ray.tasks import base_setting, check_setting, improve_prompt, rounds, shots


def test_the_question_is_asked_again_after_the_previous_answer() -> None:
    prompt = improve_prompt("Text: a cat.\n\nIs it funny?", "Is it funny?", " No.\n")
    assert prompt == "Text: a cat.\n\nIs it funny?\n\nYour previous answer: No.\n\nIs it funny?"


def test_a_number_of_rounds_follows_round_0() -> None:
    assert [rounds(setting) for setting in ("self_improve_1", "self_improve_10", "zero_shot", "few_shot_4")] == [
        2,
        11,
        1,
        1,
    ]
    assert shots("self_improve_3") == 0
    assert base_setting("self_improve_3") == "zero_shot"


@pytest.mark.parametrize("setting", ["self_improve_0", "self_improve_11"])
def test_rounds_are_bounded(setting: str) -> None:
    with pytest.raises(ValueError, match=f"'{setting}': its number must be from 1 to 10"):
        check_setting(setting)
