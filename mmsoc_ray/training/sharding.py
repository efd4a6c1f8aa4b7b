"""One model on several workers: whole on each, or with its weights divided among them (FSDP2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

T = TypeVar("T")


def workers() -> int:
    """Return how many workers train together; 1 outside a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return which of them this process is."""
    return dist.get_rank() if dist.is_initialized() else 0


def shard(model: Any, dtype: torch.dtype) -> None:
    """Divide a model's weights among all workers: layer by layer, then the rest.

    Args:
        model: On this worker's device, in float32: torch gathers weights of one type only, and adapters learn in that.
        dtype: In which it computes.
    """
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for block in _blocks(model):
        fully_shard(block, mp_policy=policy)
    fully_shard(model, mp_policy=policy)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor with all its shards; all workers have to call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(parameter: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return a whole tensor divided as a parameter is, on its device."""
    tensor = tensor.to(parameter.device, parameter.dtype)
    if isinstance(parameter, DTensor):
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)
    return tensor


def add_up(values: Iterable[float], device: torch.device) -> list[float]:
    """Return each value's sum over all workers."""
    if workers() == 1:
        return list(values)
    total = torch.tensor(list(values), dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return [float(value) for value in total]


def of_first(value: T) -> T:
    """Return what worker 0 calls this with, on every worker."""
    values = [value]
    if workers() > 1:
        dist.broadcast_object_list(values, src=0)
    return values[0]


def of_all(value: T) -> list[T]:
    """Return what the workers call this with, on every worker."""
    values: list[Any] = [value] * workers()
    if workers() > 1:
        dist.all_gather_object(values, value)
    return values


def largest(value: float, device: torch.device) -> float:
    """Return the largest of all workers' values."""
    found = torch.tensor(value, dtype=torch.float64, device=device)
    if workers() > 1:
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return float(found)


def add_up_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every worker the sum of all workers' gradients; a parameter without one counts as zero.

    One message after the last micro batch. ``DistributedDataParallel`` sends while it computes, and so waits for a
    worker whose share of a short last step is empty, or whose posts have no picture for the projector to learn from.
    """
    learning = list(parameters)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for parameter, part in zip(learning, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def _blocks(model: Any) -> list[nn.Module]:
    """Return the layers of the language model, which every worker calls in every pass.

    Those of a picture encoder are not called for a batch without pictures, and a worker that gathers the weights of a
    layer waits for all others: they are gathered with the rest of the model.
    """
    lists = [one for one in model.get_decoder().modules() if isinstance(one, nn.ModuleList)]
    return list(lists[0]) if lists else []
