"""An adapter merged into its base: a plain checkpoint folder that transformers and vLLM load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from safetensors.torch import load_file

from mmsoc_ray.engines.adapters import LORA_WEIGHTS
from mmsoc_ray.engines.checkpoint import load_model
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.full_disk import naming_full_disk
from mmsoc_ray.models.digests import checkpoint_files
from mmsoc_ray.training.adapters import TRAINED_WEIGHTS

_library: Any = transformers


def export_adapter(checkpoint: Path, adapter: Path, destination: Path) -> Path:
    """Write a checkpoint that answers as the base does with the adapter.

    Weights are added up in float32 and stored in the base's own precision; tokenizer, processor, chat template and
    configuration are the base's files.

    Args:
        checkpoint: Folder of the base.
        adapter: Folder of the adapter: peft's files, or ``trained.safetensors``.
        destination: A folder that does not exist yet, or is empty.

    Returns:
        The destination.

    Raises:
        ConfigurationError: The adapter is none, does not fit the base, or the destination holds something.
        StorageError: The disk is full; nothing is left at the destination.
    """
    if destination.is_dir() and any(destination.iterdir()):
        raise ConfigurationError(f"{destination} is not empty. Name a folder that does not exist yet.")
    model = load_model(checkpoint)
    stored = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    merged = _merged(model.float(), adapter).to(stored)
    merged.generation_config = _library.GenerationConfig()  # the base's file follows; saving checks it too strictly
    destination.mkdir(parents=True, exist_ok=True)
    try:
        with naming_full_disk(destination, "Make space, or name another folder."):
            merged.save_pretrained(destination)
            _copy_readers(checkpoint, destination)
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise
    return destination


def _merged(model: Any, adapter: Path) -> Any:
    if (adapter / LORA_WEIGHTS).is_file():
        return _with_low_rank(model, adapter)
    if not (adapter / TRAINED_WEIGHTS).is_file():
        raise ConfigurationError(f"{adapter} holds neither {LORA_WEIGHTS} nor {TRAINED_WEIGHTS}: it is no adapter.")
    parameters = dict(model.named_parameters())
    for name, tensor in load_file(adapter / TRAINED_WEIGHTS).items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise _misfit(adapter, f"the base has no {name} of shape {tuple(tensor.shape)}")
        parameters[name].data.copy_(tensor)
    return model


def _with_low_rank(model: Any, adapter: Path) -> Any:
    try:
        adapted = peft.PeftModel(model, peft.LoraConfig.from_pretrained(str(adapter)))
        loaded: Any = peft.set_peft_model_state_dict(adapted, load_file(adapter / LORA_WEIGHTS))
    except (ValueError, RuntimeError) as error:
        raise _misfit(adapter, " ".join(str(error).split())[:300]) from error
    if loaded.unexpected_keys:
        raise _misfit(adapter, f"the base has no {loaded.unexpected_keys[0]}")
    return adapted.merge_and_unload()


def _misfit(adapter: Path, said: str) -> ConfigurationError:
    return ConfigurationError(f"{adapter} does not fit the base: {said}. Name the checkpoint that it was trained on.")


def _copy_readers(checkpoint: Path, destination: Path) -> None:
    """Copy all that an engine reads beside the weights, so that prompts and pictures become what they were."""
    for name, file in checkpoint_files(checkpoint).items():
        if file.suffix != ".safetensors" and not name.endswith(".index.json"):
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, destination / name)
