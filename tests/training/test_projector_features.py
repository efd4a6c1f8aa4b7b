import pytest
import torch

from mmsoc_ray.models.demo_llava import encode_pictures, picture_processor
from mmsoc_ray.training import projector_features
from mmsoc_ray.training.projector_data import make_examples
from mmsoc_ray.training.projector_features import cached_features, features_key


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMSOC_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def examples():
    return make_examples("train", 3, 0)


def test_cached_features_equal_those_computed_fresh(llava, examples):
    vision = llava.model.vision_tower
    cached_features(examples, vision)
    pixels = picture_processor()(images=[example.draw() for example in examples], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        fresh = encode_pictures(vision, pixels).to(torch.float16)
    assert torch.equal(cached_features(examples, vision), fresh)


def test_the_encoder_runs_once(llava, examples, monkeypatch):
    cached_features(examples, llava.model.vision_tower)
    monkeypatch.setattr(projector_features, "encode", lambda *_: pytest.fail("encoded again"))
    assert cached_features(examples, llava.model.vision_tower).shape == (3, 65, 32)


def test_other_pictures_have_another_place(examples):
    assert features_key(examples) != features_key(examples[:2])
    assert features_key(examples) == features_key(make_examples("train", 3, 0))
