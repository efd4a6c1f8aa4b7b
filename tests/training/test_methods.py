import json

import peft
import pytest
import torch
from safetensors.torch import load_file

from mmsoc_ray.config import Recipe
from mmsoc_ray.engines.adapters import LORA_CONFIG, LORA_WEIGHTS
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.training.adapters import TRAINED_WEIGHTS
from mmsoc_ray.training.methods import TrainableModel

LOW_RANK = ("lora", "rslora", "dora", "pissa", "lora_plus")
METHODS = (*LOW_RANK, "full", "projector")


def recipe_of(method, **fields):
    said = {"name": "toy", "method": method, "learning_rate": 1e-2, "batch": 2, "steps": 3, **fields}
    if method in LOW_RANK:
        said = {"rank": 4, "alpha": 8.0, **said}
    return Recipe(**said)


def logits(model, batch):
    with torch.no_grad():
        return model.eval()(**{**batch, "labels": None}).logits


def learn(trainable, batch, steps=3):
    optimizer = torch.optim.AdamW(trainable.parameters.values(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        trainable.model(**batch).loss.backward()
        optimizer.step()


def reloaded(load_tiny, architecture, folder, method):
    """The adapter as others load it."""
    model = load_tiny(architecture)
    if method in LOW_RANK:
        return peft.PeftModel.from_pretrained(model, folder)
    _, unexpected = model.load_state_dict(load_file(folder / TRAINED_WEIGHTS), strict=False)
    assert not unexpected
    return model


@pytest.mark.parametrize("architecture", ["text", "llava", "idefics3"])
@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_trains_changes_is_saved_and_answers_the_same(
    architecture, method, load_tiny, tiny_batch, tmp_path
):
    if (architecture, method) == ("text", "projector"):
        pytest.skip("it has no projector, which another test is about")
    batch, base = tiny_batch(architecture), load_tiny(architecture)
    untouched = logits(base, batch)
    trainable = TrainableModel(base, recipe_of(method), where="toy")
    torch.testing.assert_close(logits(trainable.model, batch), untouched, atol=2e-3, rtol=1e-3)
    frozen = {name: p.clone() for name, p in trainable.model.named_parameters() if not p.requires_grad}
    first = trainable.state()
    learn(trainable, batch)
    assert all(torch.equal(p, frozen[name]) for name, p in trainable.model.named_parameters() if name in frozen)
    state = trainable.state()
    assert any(not torch.equal(state[name], first[name]) for name in first)

    trainable.save(tmp_path, state)
    learnt = logits(trainable.model, batch)
    assert not torch.allclose(learnt, untouched, atol=1e-2)
    torch.testing.assert_close(
        logits(reloaded(load_tiny, architecture, tmp_path, method), batch), learnt, atol=2e-3, rtol=1e-3
    )


def test_only_what_joins_pictures_and_language_learns_as_a_projector(load_tiny):
    trainable = TrainableModel(load_tiny("llava"), recipe_of("projector"), where="toy")
    assert all("multi_modal_projector" in name for name in trainable.parameters)
    assert len(trainable.parameters) == 4


@pytest.mark.parametrize("architecture", ["text", "llava", "idefics3"])
def test_all_linear_means_every_layer_of_the_language_model_but_its_output(architecture, load_tiny):
    model = load_tiny(architecture)
    trainable = TrainableModel(model, recipe_of("lora"), where="toy")
    learning = {name.partition(".lora_")[0] for name in trainable.parameters}
    assert {name.rpartition(".")[2] for name in learning} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert len(learning) == 2 * 7
    assert not any("vision" in name for name in learning)


def test_attention_means_the_language_models(load_tiny):
    trainable = TrainableModel(load_tiny("llava"), recipe_of("lora", targets="attention"), where="toy")
    assert {name.partition(".lora_")[0].rpartition(".")[2] for name in trainable.parameters} == {
        "q_proj", "k_proj", "v_proj", "o_proj",
    }  # fmt: skip
    assert not any("vision" in name for name in trainable.parameters)


def test_a_name_that_the_language_model_lacks_is_looked_for_elsewhere(load_tiny):
    trainable = TrainableModel(load_tiny("llava"), recipe_of("lora", targets=["q_proj", "fc1"]), where="toy")
    assert {"vision_tower" in name for name in trainable.parameters if "fc1" in name} == {True}
    assert {"vision_tower" in name for name in trainable.parameters if "q_proj" in name} == {False}


def test_an_unknown_target_is_refused_with_the_names_that_exist(load_tiny):
    with pytest.raises(ConfigurationError, match=r"toy: targets: no linear layer is called 'q_prj'.*down_proj.*q_proj"):
        TrainableModel(load_tiny("text"), recipe_of("lora", targets=["q_prj"]), where="toy")


def test_a_model_without_pictures_has_no_projector(load_tiny):
    with pytest.raises(ConfigurationError, match="LlamaForCausalLM has none"):
        TrainableModel(load_tiny("text"), recipe_of("projector"), where="toy")


def test_pissa_is_refused_where_a_layer_has_fewer_singular_values(load_tiny):
    with pytest.raises(ConfigurationError, match=r"rank 20: pissa .*k_proj has 16"):
        TrainableModel(load_tiny("text"), recipe_of("pissa", rank=20), where="toy")


def test_pissa_is_stored_as_plain_lora_with_the_same_merged_weights(load_tiny, tiny_batch, tmp_path):
    trainable = TrainableModel(load_tiny("text"), recipe_of("pissa"), where="toy")
    learn(trainable, tiny_batch("text"))
    assert trainable.save(tmp_path, trainable.state()) == (8, 16.0)
    config = json.loads((tmp_path / LORA_CONFIG).read_text())
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (8, 16.0, True)
    merged = trainable.model.merge_and_unload().state_dict()
    plain = peft.PeftModel.from_pretrained(load_tiny("text"), tmp_path).merge_and_unload().state_dict()
    for name, weight in merged.items():
        torch.testing.assert_close(plain[name], weight, atol=1e-5, rtol=1e-5)


def test_a_resumed_pissa_stands_on_the_same_base(load_tiny):
    first = TrainableModel(load_tiny("text"), recipe_of("pissa"), where="toy")
    again = TrainableModel(load_tiny("text"), recipe_of("pissa"), where="toy", initial=first.initial)
    weights = dict(again.model.named_parameters())
    assert all(torch.equal(parameter, weights[name]) for name, parameter in first.model.named_parameters())


def test_b_learns_faster_in_lora_plus(load_tiny):
    slow, fast = TrainableModel(load_tiny("text"), recipe_of("lora_plus", lora_plus_ratio=4), where="toy").groups()
    assert (slow["scale"], fast["scale"]) == (1.0, 4.0)
    assert len(slow["params"]) == len(fast["params"]) == 14


def test_an_adapter_says_nothing_of_the_machine_that_made_it(load_tiny, tiny, tmp_path):
    trainable = TrainableModel(load_tiny("text"), recipe_of("lora"), where="toy")
    trainable.save(tmp_path, trainable.state())
    assert str(tiny["text"]) not in (tmp_path / LORA_CONFIG).read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == [LORA_CONFIG, LORA_WEIGHTS]
