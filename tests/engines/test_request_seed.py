from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mmsoc_ray.engines import Request
from mmsoc_ray.engines.request_seed import request_seed

ASKED = Request("zero_shot", "humor", "Is it?", with_image=True, max_new_tokens=8)


def test_a_seed_follows_prompt_picture_and_the_decodings_seed():
    seeds = {
        request_seed(0, ASKED, "picture"),
        request_seed(1, ASKED, "picture"),
        request_seed(0, ASKED, "other picture"),
        request_seed(0, ASKED, None),
        request_seed(0, dataclasses.replace(ASKED, prompt="Is it so?"), "picture"),
    }
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    "change",
    [
        {"setting": "self_improve_2", "round": 1},
        {"task": "sarcasm"},
        {"max_new_tokens": 9},
        {"labels": {"a": "yes"}},
        {"adapter": "tuned"},
        {"example_pictures": (np.zeros((2, 2, 3), np.uint8),), "places": (0, 3)},
    ],
)
def test_what_does_not_change_the_question_changes_no_seed(change: dict[str, Any]):
    assert request_seed(0, dataclasses.replace(ASKED, **change), "picture") == request_seed(0, ASKED, "picture")


def test_a_picture_that_is_not_shown_changes_no_seed():
    text = dataclasses.replace(ASKED, with_image=False)
    assert request_seed(0, text, "picture") == request_seed(0, text, None)


def test_seeds_of_this_version_stay_as_they_are():
    # Another seed draws other answers under the keys of stored ones: change it with TRANSFORMERS_ENGINE only.
    assert request_seed(0, ASKED, "picture") == 4503249438141324112
