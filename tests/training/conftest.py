import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Dinov2Config, Dinov2Model, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mmsoc_ray.models.demo_llava import REPLACED_TOKEN, assemble

WORDS = "user assistant What is in the picture? background? A red cat, blue dog. green hills Describe scene"


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level tokenizer with SmolLM2's special tokens."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", REPLACED_TOKEN]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    inner.train_from_iterator([WORDS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )


@pytest.fixture
def llava(tokenizer):
    """A LLaVA of 60,000 random weights with the demo's shape of input."""
    torch.manual_seed(0)
    vision = Dinov2Model(
        Dinov2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=112,
            use_mask_token=False,
        )
    )  # fmt: skip
    language = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, initializer_range=0.2,
            pad_token_id=2, bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip
    return assemble(vision, language, image_token_id=tokenizer.convert_tokens_to_ids(REPLACED_TOKEN)).eval()


TINY = ("text", "llava", "idefics3")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folders of the tiny checkpoints of the engines' tests, by architecture."""
    makers = runpy.run_path(str(Path(__file__).parents[1] / "engines" / "conftest.py"))
    folders = {}
    for name in TINY:
        folders[name] = tmp_path_factory.mktemp(name)
        makers[f"save_{name}_checkpoint"](folders[name])
    return folders


@pytest.fixture(scope="session")
def load_tiny(tiny):
    """Load a tiny model by architecture, or the checkpoint of a folder."""

    def load(name):
        folder = tiny.get(name, name)
        library = transformers.AutoModelForCausalLM if name == "text" else transformers.AutoModelForImageTextToText
        return library.from_pretrained(folder, dtype=torch.float32)

    return load


@pytest.fixture(scope="session")
def tiny_batch(tiny):
    """Make the inputs of an architecture's forward pass: two prompts with a picture where it sees one, and labels."""

    def make(name, *, seed=0, answers=("yes", "no it is not")):
        prompts = [f"is this meme {word} answer {seed}" for word in ("humorous", "sarcastic")]
        if name == "text":
            tokenizer = transformers.AutoTokenizer.from_pretrained(tiny[name])
            rows = [dict(tokenizer(prompt)) for prompt in prompts]
        else:
            processor = transformers.AutoProcessor.from_pretrained(tiny[name])
            tokenizer = processor.tokenizer
            picture = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
            rows = [dict(processor(images=[picture], text=f"<image>{p}", return_tensors="pt")) for p in prompts]
            rows = [{key: value[0] if "ids" in key else value for key, value in row.items()} for row in rows]
        return collate(rows, [tokenizer(answer).input_ids for answer in answers], tokenizer.pad_token_id)

    return make


def collate(rows, answers, pad):
    """Pad prompts with their answers on the right; label the answers."""
    prompts = [torch.as_tensor(row.pop("input_ids")) for row in rows]
    ids = [torch.cat([prompt, torch.tensor(answer)]) for prompt, answer in zip(prompts, answers, strict=True)]
    labels = [
        torch.cat([torch.full_like(prompt, -100), one[len(prompt) :]]) for prompt, one in zip(prompts, ids, strict=True)
    ]
    padded = torch.nn.utils.rnn.pad_sequence
    for row in rows:
        row.pop("attention_mask", None), row.pop("token_type_ids", None)
    return {
        "input_ids": padded(ids, batch_first=True, padding_value=pad),
        "attention_mask": padded([torch.ones_like(one) for one in ids], batch_first=True),
        "labels": padded(labels, batch_first=True, padding_value=-100),
        **{key: torch.cat([row[key] for row in rows]) for key in rows[0]},
    }
