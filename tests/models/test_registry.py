import pytest

from mmsoc_ray.models import UnknownModelError, get_model, model_names


def test_every_name_leads_to_its_entry():
    assert [get_model(name).name for name in model_names()] == list(model_names())


def test_demo_models_answer_the_settings_that_the_demo_asks_for():
    assert get_model("demo-llava").settings == ("zero_shot", "with_ocr", "text_only", "image_only")
    assert get_model("smollm2-135m").settings == ("text_only", "with_ocr")


def test_only_models_that_see_pictures_answer_from_the_picture_alone():
    for name in model_names():
        entry = get_model(name)
        assert entry.sees_pictures or "image_only" not in entry.settings


def test_unknown_name_gets_the_nearest_and_all_known_ones():
    with pytest.raises(UnknownModelError) as error:
        get_model("demo-lava")
    assert "'demo-lava'" in str(error.value)
    assert "Did you mean 'demo-llava'?" in str(error.value)
    assert all(name in str(error.value) for name in model_names())


def test_a_name_like_no_other_gets_no_guess():
    with pytest.raises(UnknownModelError) as error:
        get_model("zzzz")
    assert "Did you mean" not in str(error.value)
