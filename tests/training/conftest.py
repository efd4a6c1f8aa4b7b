import pytest
import torch
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
