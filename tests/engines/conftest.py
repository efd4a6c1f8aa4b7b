"""Tiny checkpoints with random weights, made once per session: what the transformers engine loads in these tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT = 256
TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.4,
}


def train_tokenizer(specials: tuple[str, ...]) -> transformers.PreTrainedTokenizerFast:
    """Train a byte-level BPE on a few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>", *specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["is this meme humorous or sarcastic answer user assistant the picture"] * 4, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
        additional_special_tokens=list(specials),
    )


def save_text_checkpoint(folder: Path) -> None:
    tokenizer = train_tokenizer(())
    torch.manual_seed(1)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=len(tokenizer), **TEXT))
    # A checkpoint whose own settings sample and penalise: the engine must not.
    model.generation_config = transformers.GenerationConfig(
        do_sample=True, temperature=1.5, top_p=0.9, repetition_penalty=1.3, eos_token_id=tokenizer.eos_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_llava_checkpoint(folder: Path, text: dict[str, Any] = TEXT) -> None:
    tokenizer = train_tokenizer(("<image>",))
    image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    vision = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=14
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=transformers.LlamaConfig(vocab_size=len(tokenizer), **text),
        image_token_index=image_token_id,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(2)
    model = transformers.LlavaForConditionalGeneration(config)
    with torch.no_grad():  # the default initialisation lets the picture vanish beside the text
        for weights in (*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()):
            if weights.ndim > 1:
                weights.mul_(8)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(folder)


def save_idefics3_checkpoint(folder: Path, text: dict[str, Any] = TEXT) -> None:
    """An architecture that cuts a picture into tiles, whose number of tokens depends on the picture's shape."""
    tiles = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
    tokenizer = train_tokenizer(("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *tiles))
    config = transformers.Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        },
        text_config=transformers.LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, **text),
    )
    torch.manual_seed(3)
    model = transformers.Idefics3ForConditionalGeneration(config)
    with torch.no_grad():
        for weights in (*model.model.vision_model.parameters(), *model.model.connector.parameters()):
            if weights.ndim > 1:
                weights.mul_(8)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor = transformers.Idefics3Processor(
        image_processor=transformers.Idefics3ImageProcessor(
            size={"longest_edge": 112}, max_image_size={"longest_edge": 56}
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(folder)


@pytest.fixture
def make_tokenizer() -> Callable[..., transformers.PreTrainedTokenizerFast]:
    """Make a tokenizer with further special tokens."""
    return lambda *specials: train_tokenizer(specials)


@pytest.fixture(scope="session")
def text_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    save_text_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def llava_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llava")
    save_llava_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def idefics3_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idefics3")
    save_idefics3_checkpoint(folder)
    return folder


def save_wider_checkpoint(name: str, folder: Path) -> None:
    """Save a tiny ``llava`` or ``idefics3`` whose heads are as wide as vLLM's attention on CPUs wants them."""
    wider = {**TEXT, "hidden_size": 128, "intermediate_size": 128, "max_position_embeddings": 512}
    {"llava": save_llava_checkpoint, "idefics3": save_idefics3_checkpoint}[name](folder, wider)


@pytest.fixture(scope="module")
def vllm_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Save a tiny checkpoint that vLLM runs on CPUs."""

    def save(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        save_wider_checkpoint(name, folder)
        return folder

    return save
