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


@pytest.mark.parametrize(
    ("decoding", "content"),
    [
        (Decoding(temperature=0.7), {"temperature": 0.7}),
        (Decoding(temperature=0.7, top_p=0.9), {"temperature": 0.7, "top_p": 0.9}),
        (Decoding(temperature=0.7, top_k=5), {"temperature": 0.7, "top_k": 5}),
        (Decoding(temperature=0.7, seed=1), {"temperature": 0.7, "seed": 1}),
        (Decoding(temperature=0.7, min_length=2), {"temperature": 0.7, "min_length": 2}),
    ],
)
def test_what_sampling_changes_enters_the_keys(decoding, content):
    assert decoding.content() == {"do_sample": True, "num_beams": 1, **content}
    assert decoding.samples
    assert not decoding.is_greedy
    assert decoding.takes_logits_as_they_are == ("min_length" not in content)


def test_a_decoding_without_its_sampling_is_what_it_was_before():
    assert Decoding(temperature=0.7, top_p=0.9, top_k=5, seed=3).unsampled == Decoding()
    assert Decoding(temperature=0.7, min_length=2, max_new_tokens=9).unsampled.content()["min_length"] == 2


def test_beams_take_no_logits_as_they_are():
    assert not Decoding(num_beams=2).takes_logits_as_they_are
    assert Decoding(max_new_tokens=4).takes_logits_as_they_are


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.7, "num_beams": 5}, "temperature 0.7 samples and num_beams 5 searches. Set num_beams: 1 to"),
        ({"seed": 3}, "seed 3 does nothing at temperature 0, which is greedy. Set a temperature above 0, or remove it"),
        ({"top_p": 0.9}, "top_p 0.9 does nothing at temperature 0"),
        ({"top_k": 4, "num_beams": 2}, "top_k 4 does nothing at temperature 0"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, message):
    with pytest.raises(ValueError) as refused:
        Decoding(**fields)
    assert str(refused.value).startswith(message)


def test_a_limit_alone_stays_greedy():
    assert Decoding(max_new_tokens=7).is_greedy


@pytest.mark.parametrize(("dtype", "gb"), [("bfloat16", 14.0), ("float16", 14.0), ("float32", 28.0)])
def test_memory_of_weights_follows_parameters_and_dtype(dtype, gb):
    assert ModelEntry("m", "f", 7.0, "transformers").weights_gb(dtype) == gb
