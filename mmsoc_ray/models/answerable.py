"""Which settings a model can answer in, the numbered and the fine-tuned ones included."""

from __future__ import annotations

from mmsoc_ray.models.entry import ModelEntry
from mmsoc_ray.tasks import FINETUNED_SETTINGS, NUMBERED_SETTINGS, base_setting, is_finetuned


def can_answer(entry: ModelEntry, setting: str) -> bool:
    """Whether a model can answer in a setting.

    A numbered setting (``few_shot_4``) can be answered where the one that it builds on can; not by a baseline, which
    looks at no prompt. So can a fine-tuned one, by a model whose weights are loaded here: a server's cannot be trained.

    Raises:
        ValueError: The setting is not known.
    """
    base = base_setting(setting, sees_pictures=entry.sees_pictures)
    if is_finetuned(setting) and not entry.loads_weights:
        return False
    return base in entry.settings and (base == setting or entry.engine != "baseline")


def answerable(entry: ModelEntry) -> tuple[str, ...]:
    """Return the settings that a model can answer in, the numbered ones as ``few_shot_<k>``."""
    numbered = (form for form in NUMBERED_SETTINGS if can_answer(entry, form.replace("<k>", "1")))
    return (*entry.settings, *numbered, *(form for form in FINETUNED_SETTINGS if can_answer(entry, form)))
