"""Settings: what of a post a model is shown."""

from __future__ import annotations

import difflib

SETTINGS: dict[str, str] = {
    "zero_shot": "the picture, and the poster's text where the task's prompt speaks of it",
    "text_only": "no picture; the poster's text and the words in the picture as the source transcribes them",
    "image_only": "the picture and the question, no text of the post",
    "with_ocr": "the poster's text and the words that an OCR engine read in the picture; the picture too",
}
"""Known settings and what each shows."""

WITHOUT_PICTURE = frozenset({"text_only"})


def check_setting(setting: str) -> str:
    """Return the setting's name unchanged.

    Raises:
        ValueError: The setting is not known; the message names the allowed ones.
    """
    if setting in SETTINGS:
        return setting
    close = difflib.get_close_matches(setting, SETTINGS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown setting {setting!r}.{hint} Allowed: {', '.join(SETTINGS)}")


def shows_picture(setting: str) -> bool:
    """Whether the setting shows the picture to a model that sees pictures.

    ``with_ocr`` does: a model that cannot see answers it from the words alone.

    Raises:
        ValueError: The setting is not known.
    """
    return check_setting(setting) not in WITHOUT_PICTURE
