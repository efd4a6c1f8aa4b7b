import shutil
from pathlib import Path
from typing import Any

import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import Storage, open_storage, write_split
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.answerer import Answerer, configuration, resolve_answerer
from mmsoc_ray.grid.keys import digest, row_key
from mmsoc_ray.grid.plan import plan_grid
from mmsoc_ray.models import ModelEntry
from mmsoc_ray.models.entry import Decoding
from mmsoc_ray.models.packaged import CheckpointError


@pytest.fixture
def of_tiny(toy, tmp_path):
    """Return the configuration of the tiny model on a grid with some text replaced."""

    def configured(
        old: str = "",
        new: str = "",
        *,
        checkpoint: Path | None = None,
        data: Storage | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        models = f"  tiny: {{checkpoint: {checkpoint or toy.checkpoint}, settings: [zero_shot], dtype: float32}}"
        file = toy.grid(tmp_path / "toy.yaml", models=models)
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1) if old else file.read_text())
        plan = plan_grid(load_grid(file), data or open_storage(toy.data), limit=limit)
        (model,) = plan.models
        return configuration(model, resolve_answerer(model, seed=plan.grid.seed), words_digest="words")

    return configured


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("humor: {max_new_tokens: 3}", "humor: {max_new_tokens: 4}"),
        ("  sarcasm: {max_new_tokens: 3}\n", ""),
        ("sarcasm: {max_new_tokens: 3}", "sarcasm: {max_new_tokens: 3, prompt: tweet}"),
        ("humor: {max_new_tokens: 3}", "humor: {max_new_tokens: 3, scored: true}"),
        ("[zero_shot]", "[zero_shot, text_only]"),
        ("[zero_shot]", "[text_only]"),
        ("[zero_shot]", "[zero_shot, with_ocr]"),
        ("dtype: float32", "dtype: bfloat16"),
        ("dtype: float32", "dtype: float32, prompt_template: '{image}{prompt}'"),
        ("dtype: float32", "dtype: float32, decoding: {num_beams: 2}"),
        ("dtype: float32", "dtype: float32, decoding: {repetition_penalty: 1.5}"),
        ("dtype: float32", "dtype: float32, decoding: {temperature: 0.7}"),
    ],
)
def test_a_configuration_changes_with_what_shapes_the_answers(of_tiny, old, new):
    assert digest(of_tiny(old, new)) != digest(of_tiny())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dtype: float32", "dtype: float32, resources: {actors: 2, threads: 1}"),
        ("dtype: float32", "dtype: float32, decoding: {num_beams: 1, length_penalty: 1.0}"),
        ("dtype: float32", "dtype: float32, decoding: {temperature: 0, top_p: 1, top_k: 0, seed: 0}"),
        ("dtype: float32", "dtype: float32, batch_tokens: 99, family: other, parameters_b: 7"),
        ("humor: {max_new_tokens: 3}", "humor: {max_new_tokens: 3, scored: false}"),
        ("[Toy data.]", "[Other words.]"),
        ("name: toy", "name: other"),
        ("name: toy", "name: toy\nseed: 5"),
    ],
)
def test_a_configuration_does_not_change_with_how_it_is_run_or_shown(of_tiny, old, new):
    assert digest(of_tiny(old, new)) == digest(of_tiny())


@pytest.mark.parametrize(
    ("decoding", "key"),
    [
        (Decoding(), "5c3a1f38c5c170bf00f761632bd09080645acff08a16956ce6a7c14a7ac55830"),
        (
            Decoding(num_beams=5, repetition_penalty=1.5, min_length=1),
            "58fc5aea78894c37e5124de408800e89263c69b47f1406d8cdf9f0fe59afeb1e",
        ),
    ],
)
def test_keys_of_answers_that_are_not_sampled_stay_as_they_were_before_any_could_be(decoding, key):
    entry = ModelEntry("m", "f", 0.1, "transformers", sees_pictures=True, max_picture_side=16, decoding=decoding)
    content = Answerer(entry, "float32", "digest", {}, 0).content("toy_memes")
    assert row_key(content, task="humor", prompt="Is it?", image_sha256="i", max_new_tokens=8) == key


def test_a_configuration_changes_with_the_limit_where_it_cuts(of_tiny):
    assert digest(of_tiny(limit=3)) != digest(of_tiny())
    assert digest(of_tiny(limit=10)) == digest(of_tiny())


def test_a_configuration_changes_with_posts_and_their_units(of_tiny, toy, tmp_path):
    data = open_storage(tmp_path / "data")
    shutil.copytree(toy.data, tmp_path / "data")
    write_split(data, "toy_memes", "test", toy.memes, posts_per_unit=4)
    assert digest(of_tiny(data=data)) == digest(of_tiny())
    write_split(data, "toy_memes", "test", toy.memes, posts_per_unit=5)
    assert digest(of_tiny(data=data)) != digest(of_tiny())
    write_split(data, "toy_memes", "test", toy.memes[::-1], posts_per_unit=4)
    assert digest(of_tiny(data=data)) != digest(of_tiny())


def test_a_configuration_follows_the_checkpoints_bytes_not_its_place(of_tiny, toy, tmp_path):
    shutil.copytree(toy.checkpoint, tmp_path / "moved")
    assert digest(of_tiny(checkpoint=tmp_path / "moved")) == digest(of_tiny())
    (weights,) = (tmp_path / "moved").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    assert digest(of_tiny(checkpoint=tmp_path / "moved")) != digest(of_tiny())


def test_a_checkpoint_that_is_gone_is_refused(toy, tmp_path):
    shutil.copytree(toy.checkpoint, tmp_path / "gone")
    grid = load_grid(toy.grid(tmp_path / "grid.yaml", models=f"  mine: {{checkpoint: {tmp_path / 'gone'}}}"))
    (model,) = plan_grid(grid, open_storage(toy.data)).models
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="model 'mine'"):
        resolve_answerer(model, seed=0)


def test_a_model_that_vllm_is_not_there_for_is_refused_before_its_weights_are_looked_for(toy, tmp_path, monkeypatch):
    grid = load_grid(toy.grid(tmp_path / "grid.yaml", models="  qwen2-vl-72b: {engine: vllm}"))
    (model,) = plan_grid(grid, open_storage(toy.data)).models
    monkeypatch.setattr("mmsoc_ray.engines.vllm_start.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"'qwen2-vl-72b': the engine vllm needs the package vllm. Install it"):
        resolve_answerer(model, seed=0)


def test_a_served_models_answers_follow_its_address_and_name(toy, tmp_path):
    def content(endpoint: str) -> dict[str, Any]:
        grid = load_grid(toy.grid(tmp_path / "grid.yaml", models=f"  mine: {{endpoint: {{{endpoint}}}}}"))
        (model,) = plan_grid(grid, open_storage(toy.data)).models
        return resolve_answerer(model, seed=0).content("toy_memes")

    same = content("url: 'http://a/v1'")
    assert content("url: 'http://b/v1'") != same
    assert content("url: 'http://a/v1', served_model: other") != same
    assert content("url: 'http://a/v1', concurrency: 2, requests_per_minute: 5") == same


def test_a_baselines_answers_follow_fit_and_seed(toy, tmp_path):
    grid = load_grid(toy.grid(tmp_path / "grid.yaml", models="  random:"))
    (model,) = plan_grid(grid, open_storage(toy.data)).models
    one, other = (resolve_answerer(model, seed=seed) for seed in (0, 1))
    assert one.content("toy_memes") != one.content("toy_news")
    assert one.content("toy_memes") != other.content("toy_memes")
