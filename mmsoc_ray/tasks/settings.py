"""Settings: what of a post a model is shown, and what beside it."""

from __future__ import annotations

import difflib
import re

SETTINGS: dict[str, str] = {
    "zero_shot": "the picture, and the poster's text where the task's prompt speaks of it",
    "text_only": "no picture; the poster's text and the words in the picture as the source transcribes them",
    "image_only": "the picture and the question, no text of the post",
    "with_ocr": "the poster's text and the words that an OCR engine read in the picture; the picture too",
}
"""Known settings without a number, and what each shows."""

NUMBERED_SETTINGS: dict[str, str] = {
    "few_shot_<k>": "as zero_shot (text_only to a model that sees no pictures), after k posts of the fit split with "
    "their right answers: their pictures to a model that takes several in a prompt, else their texts alone",
    "self_improve_<k>": "as zero_shot (text_only to a model that sees no pictures); then, for k rounds, the model's "
    "last answer is given back and the question asked again",
}
"""Known settings with a number, which counts without leading zeros, and what each shows."""

FINETUNED = "finetuned"

FINETUNED_SETTINGS: dict[str, str] = {
    FINETUNED: "as zero_shot (text_only to a model that sees no pictures), to the model with an adapter that was "
    "trained on right answers",
    "finetuned_explained": "as finetuned, with an adapter that was trained on right answers and why they hold",
}
"""Settings that are answered by an adapter which a recipe trains, and what each shows."""

MOST: dict[str, int] = {"few_shot": 16, "self_improve": 10}
"""Greatest number of each numbered setting. Our choice: sixteen texts of 128 words fill a context of 4,096 tokens, and
every round costs as much as a zero-shot run (MM-Soc's code has two by default)."""

EXPLAIN = "explain"
"""Setting of a teacher that is asked why a label holds: ``few_shot_<k>`` without examples. ``mmsoc explain`` asks it;
no grid does, for the question names the right answer."""

WITHOUT_PICTURE = frozenset({"text_only"})

_NUMBERED = re.compile(r"([a-z_]+)_([1-9][0-9]{0,5}|0)")


def check_setting(setting: str) -> str:
    """Return the setting's name unchanged.

    Raises:
        ValueError: The setting is not known, or its number out of bounds; the message names the allowed ones.
    """
    if setting in SETTINGS or setting in FINETUNED_SETTINGS:
        return setting
    kind, number = _parts(setting)
    if kind in MOST:
        if not 1 <= number <= MOST[kind]:
            raise ValueError(f"setting {setting!r}: its number must be from 1 to {MOST[kind]}, for example {kind}_2")
        return setting
    known = (*SETTINGS, *NUMBERED_SETTINGS, *FINETUNED_SETTINGS)
    close = difflib.get_close_matches(setting, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown setting {setting!r}.{hint} Allowed: {', '.join(known)}")


def _parts(setting: str) -> tuple[str, int]:
    found = _NUMBERED.fullmatch(setting)
    return (found[1], int(found[2])) if found else (setting, 0)


def shots(setting: str) -> int:
    """Return k of ``few_shot_<k>``; 0 for every other setting."""
    kind, number = _parts(setting)
    return number if kind == "few_shot" else 0


def rounds(setting: str) -> int:
    """Return how often a post is asked: k + 1 times in ``self_improve_<k>``, else once."""
    kind, number = _parts(setting)
    return 1 + number if kind == "self_improve" else 1


def is_finetuned(setting: str) -> bool:
    """Whether an adapter answers in the setting, not the model as it came."""
    return setting in FINETUNED_SETTINGS


def base_setting(setting: str, *, sees_pictures: bool = True) -> str:
    """Return the setting that a numbered or fine-tuned one, or ``explain``, builds on; every other one unchanged.

    Args:
        setting: A known setting.
        sees_pictures: Whether the model does: to one that does not, a post is shown as in ``text_only``.

    Raises:
        ValueError: The setting is not known.
    """
    if setting != EXPLAIN and check_setting(setting) in SETTINGS:
        return setting
    return "zero_shot" if sees_pictures else "text_only"


def shows_picture(setting: str) -> bool:
    """Whether the setting shows the picture to a model that sees pictures.

    ``with_ocr`` does: a model that cannot see answers it from the words alone.

    Raises:
        ValueError: The setting is not known.
    """
    return base_setting(setting) not in WITHOUT_PICTURE
