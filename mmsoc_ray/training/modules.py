"""Which modules of an architecture a recipe trains, found in the model itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from torch import nn

from mmsoc_ray.errors import ConfigurationError

PROJECTORS = ("multi_modal_projector", "connector", "merger", "language_projection")
"""What lies between picture encoder and language model: LLaVA, Gemma 3 and InternVL; Idefics and SmolVLM; Qwen-VL;
BLIP-2 and InstructBLIP. The names are those of the transformers library."""


def lora_targets(model: Any, targets: Literal["all_linear", "attention"] | Sequence[str], *, where: str) -> list[str]:
    """Return the full names of the linear layers that get a low-rank adapter.

    ``all_linear`` and ``attention`` mean the language model: the picture encoder and what joins both stay as they are,
    as in LLaVA's own script (``find_all_linear_names``), and so does the output layer. An end of a name (``q_proj``)
    means the language model's modules so named, and others only where it has none.

    Args:
        model: A model of the transformers library, not wrapped yet.
        targets: Field ``targets`` of a recipe.
        where: What an error names.

    Raises:
        ConfigurationError: A name fits no linear layer; the message names those that exist.
    """
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    spoken = _below(model, model.get_decoder())
    output = model.get_output_embeddings()
    layers = [name for name in linear if name.startswith(spoken) and linear[name] is not output]
    if targets == "all_linear":
        return layers
    if targets == "attention":
        attention = [name for name in layers if "Attention" in type(_parent(model, name)).__name__]
        return attention or _refuse(where, "attention", layers)
    return sorted(
        {
            name
            for end in targets
            for name in _ending(end, layers) or _ending(end, linear) or _refuse(where, end, linear)
        }
    )


def projector_parameters(model: Any, *, where: str) -> list[str]:
    """Return the names of the parameters of what joins picture encoder and language model.

    Raises:
        ConfigurationError: The architecture has none.
    """
    named = [name for name, _ in model.named_parameters() if any(part in PROJECTORS for part in name.split("."))]
    if not named:
        raise ConfigurationError(
            f"{where}: the method projector trains what joins pictures and language ({', '.join(PROJECTORS)}), and "
            f"{type(model).__name__} has none. Take another method."
        )
    return named


def _below(model: Any, module: Any) -> str:
    name = next((name for name, one in model.named_modules() if one is module), "")
    return f"{name}." if name else ""


def _parent(model: Any, name: str) -> Any:
    return model.get_submodule(name.rpartition(".")[0])


def _ending(end: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name == end or name.endswith(f".{end}")]


def _refuse(where: str, end: str, names: Iterable[str]) -> list[str]:
    known = ", ".join(sorted({name.rpartition(".")[2] for name in names if not name.rpartition(".")[2].isdigit()}))
    raise ConfigurationError(f"{where}: targets: no linear layer is called {end!r}. There are: {known}.")
