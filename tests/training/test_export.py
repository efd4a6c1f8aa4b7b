import pytest
import torch
import transformers
from test_methods import METHODS, learn, logits, recipe_of

from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.digests import checkpoint_files
from mmsoc_ray.training import export_adapter
from mmsoc_ray.training.methods import TrainableModel


@pytest.fixture
def adapter(load_tiny, tiny_batch, tmp_path):
    """Train a method on an architecture; returns the adapter's folder and what the trained model says."""

    def make(architecture, method):
        trainable = TrainableModel(load_tiny(architecture), recipe_of(method), where="toy")
        learn(trainable, tiny_batch(architecture))
        folder = tmp_path / "adapter"
        folder.mkdir()
        trainable.save(folder, trainable.state())
        return folder, logits(trainable.model, tiny_batch(architecture))

    return make


@pytest.mark.parametrize("method", METHODS)
def test_an_exported_checkpoint_says_what_the_trained_model_says(
    method, adapter, tiny, load_tiny, tiny_batch, tmp_path
):
    folder, said = adapter("llava", method)
    exported = export_adapter(tiny["llava"], folder, tmp_path / "exported")
    torch.testing.assert_close(logits(load_tiny(exported), tiny_batch("llava")), said, atol=2e-3, rtol=1e-3)


def test_an_exported_checkpoint_has_the_bases_other_files_and_precision(adapter, tiny, tmp_path):
    folder, _ = adapter("text", "lora")
    transformers.AutoModelForCausalLM.from_pretrained(tiny["text"], dtype=torch.bfloat16).save_pretrained(
        tmp_path / "base"
    )
    transformers.AutoTokenizer.from_pretrained(tiny["text"]).save_pretrained(tmp_path / "base")
    exported = export_adapter(tmp_path / "base", folder, tmp_path / "exported")
    base, merged = checkpoint_files(tmp_path / "base"), checkpoint_files(exported)
    assert base.keys() == merged.keys()
    assert {name for name in base if base[name].read_bytes() != merged[name].read_bytes()} == {"model.safetensors"}
    assert transformers.AutoModelForCausalLM.from_pretrained(exported, dtype="auto").dtype == torch.bfloat16


@pytest.mark.parametrize("method", ["lora", "full"])
def test_an_adapter_of_another_base_is_refused(method, adapter, tiny, tmp_path):
    folder, _ = adapter("text", method)
    with pytest.raises(ConfigurationError, match="does not fit the base"):
        export_adapter(tiny["llava"], folder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_a_folder_that_is_no_adapter_is_refused(tiny, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigurationError, match="is no adapter"):
        export_adapter(tiny["text"], tmp_path / "nothing", tmp_path / "exported")


def test_nothing_is_written_over(adapter, tiny, tmp_path):
    folder, _ = adapter("text", "lora")
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "mine").write_text("kept")
    with pytest.raises(ConfigurationError, match="is not empty"):
        export_adapter(tiny["text"], folder, tmp_path / "exported")
