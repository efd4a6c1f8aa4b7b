"""Adapters inside a loaded model, of which one computes at a time, or none: one base in memory for all of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmsoc_ray.errors import ConfigurationError

LORA_WEIGHTS = "adapter_model.safetensors"
LORA_CONFIG = "adapter_config.json"


class AdapterSwitch:
    """Low-rank adapters of one model. peft puts each beside the layers that it changes; ``use`` says which computes.

    While none does, every layer computes what it did before, to the bit. Adapters compute in the precision of the
    layers beside which they stand.
    """

    def __init__(self, model: Any, adapters: Mapping[str, Path], *, device: str) -> None:
        """Load adapters into a model.

        Args:
            model: A model of transformers; it stays the object that it is.
            adapters: Folders that peft has saved, by name.
            device: Where the model is.

        Raises:
            ConfigurationError: An adapter has no safetensors, or does not fit the model.
        """
        self._current = ""
        self._peft: Any = None
        self._keys = {name: f"adapter_{number}" for number, name in enumerate(sorted(adapters))}  # without a dot
        for name, key in self._keys.items():
            self._load(model, name, adapters[name], key, device)
        if self._peft is not None:
            self._peft.base_model.disable_adapter_layers()
            self._peft.eval()
        self._encodes = {name for name, key in self._keys.items() if _changes_pictures(model, key)}

    def _load(self, model: Any, name: str, folder: Path, key: str, device: str) -> None:
        if not (folder / LORA_WEIGHTS).is_file():
            raise ConfigurationError(
                f"adapter {name!r}: {folder} holds no {LORA_WEIGHTS}; name a folder that peft has saved"
            )
        how = {"adapter_name": key, "autocast_adapter_dtype": False, "torch_device": device}
        try:
            if self._peft is None:
                self._peft = importlib.import_module("peft").PeftModel.from_pretrained(model, str(folder), **how)
            else:
                self._peft.load_adapter(str(folder), **how)
        except (ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())[:300]
            raise ConfigurationError(f"adapter {name!r} does not fit the model: {said}") from error

    def check(self, name: str) -> None:
        """Refuse an adapter that was not loaded.

        Raises:
            ValueError: Naming those that were.
        """
        if name and name not in self._keys:
            raise ValueError(f"there is no adapter {name!r} here; there are: {', '.join(self._keys) or '(none)'}")

    def for_pictures(self, name: str) -> str:
        """Return with which adapter the pictures of its requests are encoded: the base model's features where it can.

        An adapter of the language model alone changes no feature of a picture.
        """
        return name if name in self._encodes else ""

    def use(self, name: str) -> None:
        """Let an adapter compute from now on; the base model alone where the name is empty."""
        if name == self._current:
            return
        if name:
            self._peft.base_model.set_adapter(self._keys[name], inference_mode=True)
            self._peft.base_model.enable_adapter_layers()
        else:
            self._peft.base_model.disable_adapter_layers()
        self._current = name


def _changes_pictures(model: Any, key: str) -> bool:
    """Whether an adapter changes a layer outside the language model, which pictures may pass on their way to it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    decoder = model.get_decoder()
    if decoder in (model, model.base_model) and hasattr(decoder, "get_image_features"):
        return True  # what encodes pictures is not told from what reads them
    inside = {id(module) for part in (decoder, model.get_output_embeddings()) for module in _modules(part)}
    layers = (module for module in model.modules() if isinstance(module, BaseTunerLayer))
    return any(key in layer._get_available_adapters() and id(layer) not in inside for layer in layers)


def _modules(part: Any) -> list[Any]:
    return [] if part is None else list(part.modules())
