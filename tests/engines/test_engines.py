from __future__ import annotations

import subprocess
import sys

import pytest

from mmsoc_ray.engines import MajorityEngine, RandomEngine, fit_baseline, open_engine
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.entry import EngineName, ModelEntry


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_an_engine_without_weights_is_refused(engine: EngineName) -> None:
    with pytest.raises(ConfigurationError, match=f"model 'm': the {engine} engine needs a checkpoint folder"):
        open_engine(ModelEntry("m", "f", 1.0, engine))


def test_baselines_are_told_by_name() -> None:
    fit = fit_baseline([])
    majority = open_engine(ModelEntry("majority", "baseline", 0, "baseline"), fit=fit, answers={})
    drawn = open_engine(ModelEntry("random", "baseline", 0, "baseline"), fit=fit, answers={})
    assert isinstance(majority, MajorityEngine)
    assert isinstance(drawn, RandomEngine)


def test_a_baseline_without_fit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs a fit"):
        open_engine(ModelEntry("majority", "baseline", 0, "baseline"))


def test_the_door_imports_no_model_library() -> None:
    code = "import sys, mmsoc_ray.engines; print({'torch', 'transformers', 'rapidocr'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
