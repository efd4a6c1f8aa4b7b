from importlib.metadata import version

import pytest

from mmsoc_ray.engines import versions
from mmsoc_ray.models import ModelEntry

ENTRY = ModelEntry("m", "f", 0.1, "transformers")


def test_the_version_is_that_which_a_loaded_engine_records():
    from mmsoc_ray.engines.transformers import TransformersEngine

    assert versions.engine_version(ENTRY) == TransformersEngine.version


@pytest.mark.parametrize("package", ["transformers", "torch", "tokenizers", "Pillow"])
def test_another_version_of_a_package_that_shapes_answers_is_another_version(monkeypatch, package):
    before = versions.engine_version(ENTRY)
    monkeypatch.setattr(versions, "version", lambda name: "0.0.1" if name == package else version(name))
    assert versions.engine_version(ENTRY) != before


def test_a_raised_revision_of_the_packages_own_engine_is_another_version(monkeypatch):
    before = versions.engine_version(ENTRY)
    monkeypatch.setattr(versions, "TRANSFORMERS_ENGINE", versions.TRANSFORMERS_ENGINE + 1)
    assert versions.engine_version(ENTRY) != before
