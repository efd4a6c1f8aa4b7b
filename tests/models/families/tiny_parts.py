"""What the tiny checkpoints are made of."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import torch
import transformers

ENGINES = runpy.run_path(str(Path(__file__).parents[2] / "engines" / "conftest.py"))
CHAT_TEMPLATE: str = ENGINES["CHAT_TEMPLATE"]
TEXT: dict[str, Any] = {**ENGINES["TEXT"], "max_position_embeddings": 1024}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
QUERIES = 4
SIDE = 28


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Let pictures and words decide: with the default initialisation all answers are alike."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.normal_(std=0.3)


def make_tokenizer(*specials: str, **named: str) -> Any:
    """Train a tokenizer with further special tokens, some of which it knows by name."""
    tokenizer = ENGINES["train_tokenizer"]((*specials, *named.values()))
    tokenizer.padding_side = "left"
    tokenizer.init_kwargs.update(named)
    tokenizer._set_model_specific_special_tokens(named)
    return tokenizer


def llama(tokenizer: Any) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=2, bos_token_id=1, **TEXT)
