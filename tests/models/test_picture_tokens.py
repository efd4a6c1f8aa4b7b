import dataclasses

import pytest

from mmsoc_ray.models import get_model, picture_tokens


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("llava-1.5-7b", 576), ("blip2-opt-2.7b", 32), ("smollm2-135m", 0), ("smolvlm-256m", None)],
)
def test_a_picture_takes_what_is_published_or_nobody_knows(model, tokens):
    assert picture_tokens(get_model(model)) == tokens


def test_models_that_see_pictures_in_their_own_size_take_more_for_larger_ones():
    entry = dataclasses.replace(get_model("qwen2-vl-7b"), max_picture_side=280)
    assert picture_tokens(entry) == 100
    assert picture_tokens(dataclasses.replace(entry, max_picture_side=560)) == 400
