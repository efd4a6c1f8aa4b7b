"""How vLLM is started for a model: what it may take, whose code runs the model, what it reads from the environment."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsoc_ray.engines.adapters import LORA_CONFIG
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.entry import Dtype, ModelEntry
from mmsoc_ray.tasks.settings import MOST

if TYPE_CHECKING:  # it brings torch, which planning goes without
    from mmsoc_ray.engines.frame import Frame

CPU_BLOCK_TOKENS = 32
"""Tokens of a block of the prefix cache on a CPU, where vLLM's own 128 are more than many prompts have."""
MOST_LABEL_TOKENS = 128
"""So many tokens' log-probabilities vLLM gives for one place."""
LEAST_TEMPERATURE = 0.01
"""vLLM raises a lower one above 0 to this, with a warning in its log only (``SamplingParams.__post_init__``)."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Bounds on an adapter's rank that vLLM knows."""

ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "HF_HUB_OFFLINE": "1",
}
"""No reports home, no hub, no log of its own but errors, no fork of a process that has threads; unless the user's
environment says otherwise."""

ON_CPU = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
"""Threads are not bound to cores: several engines of a node would all bind to the same ones. And the model computes in
the process that schedules: one of its own, vLLM's choice on CPUs so that it can bind threads there, leaves the other to
wait for each step by spinning, on a core that the model would use (two cores: 24 requests a second instead of 40)."""


def check_vllm(entry: ModelEntry, *, on_gpu: bool) -> None:
    """Refuse what vLLM cannot do for a model.

    Args:
        entry: The model.
        on_gpu: Whether it is answered for on a GPU. On a CPU, vLLM 0.32 dies of a seeded request whose prompt it reads
            in parts (``GPUModelRunner`` sets its generator's offset, which a CPU's generator has not).

    Raises:
        ConfigurationError: It is not installed, or it would decode in another way than the entry says.
    """
    decoding = entry.decoding
    if find_spec("vllm") is None:
        raise ConfigurationError(
            f"model {entry.name!r}: the engine vllm needs the package vllm. Install it (pip install 'mmsoc-ray[vllm]' "
            f"beside a GPU; on CPUs see README.md), or set the model's engine to transformers"
        )
    if not decoding.takes_logits_as_they_are:
        raise ConfigurationError(
            f"model {entry.name!r}: the engine vllm decodes greedily or samples, its registry entry or the grid says "
            f"{decoding.content()}; set the model's engine to transformers"
        )
    if 0 < decoding.temperature < LEAST_TEMPERATURE:
        raise ConfigurationError(
            f"model {entry.name!r}: the engine vllm has no temperature {decoding.temperature:g}; set 0 (greedy) or at "
            f"least {LEAST_TEMPERATURE:g}, or the model's engine to transformers"
        )
    if decoding.samples and not on_gpu:
        raise ConfigurationError(
            f"model {entry.name!r}: the engine vllm samples on GPUs only, the registry entry or the grid says "
            f"{decoding.content()}; set the model's engine to transformers, or resources: {{gpus: 1}}"
        )


def set_environment(entry: ModelEntry, threads: int | None, *, on_gpu: bool) -> None:
    """Set what vLLM reads from the environment of this process and of those that it starts."""
    settings = dict(ENVIRONMENT)
    if not on_gpu:
        settings |= ON_CPU | {"VLLM_CPU_KVCACHE_SPACE": str(entry.vllm.cpu_cache_gb)}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    if threads is not None and not on_gpu:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def engine_options(
    checkpoint: Path,
    entry: ModelEntry,
    frame: Frame,
    *,
    dtype: Dtype,
    on_gpu: bool,
    adapters: Mapping[str, Path],
) -> dict[str, Any]:
    """Return the arguments of ``AsyncEngineArgs``."""
    limits = entry.vllm
    options: dict[str, Any] = {
        "model": str(checkpoint),
        "dtype": dtype,
        "seed": 0,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "generation_config": "vllm",  # nothing of the checkpoint's own sampling
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "max_model_len": limits.context_tokens or frame.context_tokens,
        "max_num_seqs": limits.sequences,
        "gpu_memory_utilization": limits.memory_share,
        "max_logprobs": MOST_LABEL_TOKENS,
        "model_impl": _implementation(checkpoint, entry),
    }
    if frame.sees_pictures:
        options["limit_mm_per_prompt"] = {"image": 1 + (MOST["few_shot"] if entry.several_pictures else 0)}
    if adapters:
        # On CPUs vLLM 0.32 gives rows without an adapter the last place for one (it indexes with -1): that stays empty.
        places = len(adapters) + (0 if on_gpu else 1)
        options |= {"enable_lora": True, "max_loras": places, "max_lora_rank": rank_bound(adapters)}
    if on_gpu:
        # All GPUs of an engine belong to one actor on one node, where vLLM's own processes split the layers.
        options |= {"tensor_parallel_size": entry.tensor_parallel}
    else:
        options |= {"enforce_eager": True, "block_size": CPU_BLOCK_TOKENS}
    return options


def lora_requests(adapters: Mapping[str, Path]) -> dict[str, Any]:
    """Return what names each adapter to vLLM."""
    if not adapters:
        return {}
    from vllm.lora.request import LoRARequest

    return {name: LoRARequest(name, number, str(adapters[name])) for number, name in enumerate(sorted(adapters), 1)}


def rank_bound(adapters: Mapping[str, Path]) -> int:
    """Return the smallest bound that vLLM knows and no adapter exceeds.

    Raises:
        ConfigurationError: An adapter has no readable ``adapter_config.json``, or too high a rank.
    """
    ranks = {}
    for name, folder in adapters.items():
        try:
            ranks[name] = int(json.loads((folder / LORA_CONFIG).read_text())["r"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"adapter {name!r}: {folder / LORA_CONFIG} gives no rank ({error}); name a folder that peft has saved"
            ) from error
    largest = max(ranks, key=lambda name: ranks[name])
    bound = next((bound for bound in RANKS if bound >= ranks[largest]), None)
    if bound is None:
        raise ConfigurationError(
            f"adapter {largest!r} has rank {ranks[largest]}, and vLLM serves {RANKS[-1]} at most; merge it instead"
        )
    return bound


def _implementation(checkpoint: Path, entry: ModelEntry) -> str:
    """Return whose code runs the model: vLLM's own where it has some that can be imported here.

    Some of it imports torchvision, which a machine without a GPU may lack; vLLM then runs the library's own model.
    """
    if entry.vllm.implementation != "auto":
        return entry.vllm.implementation
    from vllm.model_executor.models import registry

    architectures = json.loads((checkpoint / "config.json").read_text()).get("architectures") or [""]
    module, _ = registry._VLLM_MODELS.get(architectures[0], ("", ""))
    if not module:
        return "auto"
    try:
        importlib.import_module(f"vllm.model_executor.models.{module}")
    except ImportError:
        return "transformers"
    return "auto"
