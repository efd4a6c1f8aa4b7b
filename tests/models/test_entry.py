import pytest

from mmsoc_ray.models.entry import Decoding, ModelEntry


def test_a_greedy_decoding_has_the_content_that_stored_keys_were_made_of():
    assert Decoding().content() == {"do_sample": False, "num_beams": 1}
    assert Decoding(max_new_tokens=5).content() == Decoding().content()


@pytest.mark.parametrize(
    "decoding",
    [Decoding(num_beams=2), Decoding(repetition_penalty=1.1), Decoding(length_penalty=0.5), Decoding(min_length=1)],
)
def test_a_decoding_that_draws_otherwise_is_not_greedy(decoding):
    assert not decoding.is_greedy
    assert decoding.content() != Decoding().content()


def test_a_limit_alone_stays_greedy():
    assert Decoding(max_new_tokens=7).is_greedy


@pytest.mark.parametrize(("dtype", "gb"), [("bfloat16", 14.0), ("float16", 14.0), ("float32", 28.0)])
def test_memory_of_weights_follows_parameters_and_dtype(dtype, gb):
    assert ModelEntry("m", "f", 7.0, "transformers").weights_gb(dtype) == gb
