"""How the learning rate goes: a pure function of the step, so that nothing of it has to be kept for a resumption."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant"]


def rate_factor(schedule: Schedule, step: int, total: int, warmup: float) -> float:
    """Return what the highest learning rate is multiplied by.

    As the transformers library's ``get_cosine_schedule_with_warmup`` and its sisters: a linear rise from 0, then half a
    cosine or a line down to 0, or no change.

    Args:
        schedule: Its shape after the warm-up.
        step: The step, from 0.
        total: Steps of the training.
        warmup: Share of the steps over which the rate rises; the number of steps is rounded up.
    """
    rising = math.ceil(warmup * total)
    if step < rising:
        return step / rising
    if schedule == "constant":
        return 1.0
    progress = (step - rising) / max(1, total - rising)
    return 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else max(0.0, 1 - progress)
