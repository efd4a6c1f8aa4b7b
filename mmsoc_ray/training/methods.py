"""From a recipe's method to a model of which exactly that learns which the method trains.

LoRA (Hu et al. 2021, arXiv:2106.09685), rsLoRA (Kalajdzievski 2023, arXiv:2312.03732), DoRA (Liu et al. 2024,
arXiv:2402.09353) and PiSSA (Meng et al. 2024, arXiv:2404.02948) are peft's; LoRA+ (Hayou et al. 2024,
arXiv:2402.12354) is LoRA whose B learns faster; ``full`` and ``projector`` train the model's own weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

from mmsoc_ray.config import Recipe
from mmsoc_ray.engines.adapters import LORA_WEIGHTS
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.training.adapters import TRAINED_WEIGHTS
from mmsoc_ray.training.modules import lora_targets, projector_parameters
from mmsoc_ray.training.sharding import like, whole

PISSA = "pissa_niter_16"
"""Sixteen subspace iterations, which peft's documentation and the paper (section 4) say come close to the whole SVD."""

_KEPT = "default"


class TrainableModel:
    """A model with what learns of it.

    Attributes:
        model: What is called; for a low-rank method, peft's wrapper.
        base: The model of the transformers library inside it.
        parameters: What learns, by name; nothing else requires a gradient.
        initial: In PiSSA, the adapter's first weights by the same names: what was taken out of the base; else empty.
    """

    def __init__(
        self, model: Any, recipe: Recipe, *, where: str, initial: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        """Prepare a model, which is changed in place.

        Args:
            model: A model of the transformers library.
            recipe: Method, rank, targets, seed.
            where: What errors name: recipe and model.
            initial: ``initial`` of a training that goes on, so that the base is taken apart in the same way.

        Raises:
            ConfigurationError: The model has no module that the recipe names.
        """
        self._recipe = recipe
        model.requires_grad_(False)
        self.initial: dict[str, torch.Tensor] = {}
        if recipe.low_rank:
            self.model = self._with_adapter(model, where, resumed=initial is not None)
        else:
            self.model = model
            named = None if recipe.method == "full" else set(projector_parameters(model, where=where))
            for name, parameter in model.named_parameters():
                # The mean of many small updates is lost in 16 bits: what learns is kept in 32.
                if named is None or name in named:
                    parameter.data = parameter.data.float()
                    parameter.requires_grad_(True)
        self.base = model
        self.refresh()
        if recipe.method == "pissa":
            self._take_out(initial)

    def refresh(self) -> None:
        """Look again for what learns, after the model's parameters were exchanged for shards of themselves."""
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _with_adapter(self, model: Any, where: str, *, resumed: bool) -> Any:
        recipe = self._recipe
        targets = lora_targets(model, recipe.targets, where=where)
        if recipe.method == "pissa":
            _check_rank(model, targets, recipe.rank, where)
        start: Any = PISSA if recipe.method == "pissa" and not resumed else True
        config = peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,  # type: ignore[arg-type]  # annotated int, used as a number
            lora_dropout=recipe.dropout,
            target_modules=targets,
            use_rslora=recipe.method == "rslora",
            use_dora=recipe.method == "dora",
            init_lora_weights=start,
        )
        torch.manual_seed(recipe.seed)
        return peft.get_peft_model(model, config)

    def _take_out(self, initial: Mapping[str, torch.Tensor] | None) -> None:
        """Note the first weights of PiSSA; where they are given, take them out of the base as peft has done before."""
        if initial is None:
            self.initial = self.state()
            return
        self.initial = dict(initial)
        self.load(initial)
        with torch.no_grad():
            for layer in _lora_layers(self.model):
                base = layer.get_base_layer().weight
                product = layer.scaling[_KEPT] * layer.lora_B[_KEPT].weight @ layer.lora_A[_KEPT].weight
                base.copy_(base.float() - product)

    def groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups; ``scale`` multiplies the learning rate."""
        if self._recipe.method != "lora_plus":
            return [{"params": list(self.parameters.values()), "scale": 1.0}]
        fast = [p for name, p in self.parameters.items() if ".lora_B." in name]
        slow = [p for name, p in self.parameters.items() if ".lora_B." not in name]
        return [{"params": slow, "scale": 1.0}, {"params": fast, "scale": self._recipe.lora_plus_ratio}]

    def state(self) -> dict[str, torch.Tensor]:
        """Return a copy of what learns, on the CPU. Of a sharded model, all workers have to call it."""
        return {name: whole(parameter.detach()).cpu().clone() for name, parameter in self.parameters.items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Set what learns to a state."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(like(parameter, state[name]))

    def save(self, folder: Path, state: Mapping[str, torch.Tensor]) -> tuple[int, float] | None:
        """Write an adapter's files: safetensors, and peft's configuration for a low-rank method.

        PiSSA is written as the plain LoRA that changes the base by as much: its rank and alpha are twice the recipe's.

        Args:
            folder: Where to.
            state: What was learnt (``state``).

        Returns:
            Rank and alpha as they were stored; None where the method has none.
        """
        if not self._recipe.low_rank:
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / TRAINED_WEIGHTS)
            return None
        config = peft.LoraConfig(**self.model.peft_config[_KEPT].to_dict())
        if self._recipe.method == "pissa":
            state = plain_lora(state, self.initial)
            config.r, config.lora_alpha = 2 * self._recipe.rank, 2 * self._recipe.alpha  # type: ignore[assignment]
        config.init_lora_weights, config.inference_mode = True, True
        config.base_model_name_or_path = None  # a path would be this machine's; a name, peft looks up on a hub
        stored = {name.replace(f".{_KEPT}", ""): tensor.contiguous() for name, tensor in state.items()}
        save_file(stored, folder / LORA_WEIGHTS, metadata={"format": "pt"})
        config.save_pretrained(str(folder))
        return config.r, float(config.lora_alpha)


def plain_lora(state: Mapping[str, torch.Tensor], initial: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the LoRA of twice the rank whose product is that of a state less that of the initial weights.

    ``B A - B0 A0 = [B, -B0] [A; A0]`` (peft's ``subtract_mutated_init``); with alpha doubled too, the scale stays.
    """
    return {
        name: torch.cat([tensor, initial[name]], 0) if ".lora_A." in name else torch.cat([tensor, -initial[name]], 1)
        for name, tensor in state.items()
    }


def _check_rank(model: Any, targets: Sequence[str], rank: int, where: str) -> None:
    narrow = min(targets, key=lambda name: min(model.get_submodule(name).weight.shape))
    most = min(model.get_submodule(narrow).weight.shape)
    if rank > most:
        raise ConfigurationError(
            f"{where}: rank {rank}: pissa takes the first singular values of each weight, and {narrow} has {most}. "
            f"Take a rank up to {most}, or another method."
        )


def _lora_layers(model: Any) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, LoraLayer)]
