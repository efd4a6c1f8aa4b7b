"""Attention of grouped queries on a CPU without copying keys and values for each query head.

With a mask, the library repeats keys and values for all the query heads that share them. On a CPU, torch needs no such
copy: one decoding step of 60 rows over 290 tokens, 9 query heads over 3, takes 5 ms a layer instead of 55 (one thread).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_grouped"


def grouped_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    position_bias: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as ``sdpa_attention_forward`` of the library does, on the CPU and behind a mask without its copies."""
    if attention_mask is None or position_bias is not None or query.device.type != "cpu":
        attended: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, position_bias=position_bias, **options
        )
        return attended
    output = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )
    return output.transpose(1, 2).contiguous(), None


def group_queries(model: Any) -> None:
    """Let a model that attends with ``sdpa`` attend so."""
    text = model.config.get_text_config(decoder=True)
    if text._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)
