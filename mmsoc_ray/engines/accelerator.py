"""What a machine's accelerator can do, and when it is lost."""

from __future__ import annotations

import os
import sys
from typing import Literal

import torch

from mmsoc_ray.models.entry import Dtype

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for, or the first CUDA device, or the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(wanted: Dtype | Literal["auto"], device: torch.device) -> Dtype:
    """Return the dtype's name; ``auto`` is bfloat16 where the device is fast at it, float32 otherwise.

    Fast means CUDA with bfloat16 units, or a CPU with AMX tiles of which oneDNN makes use. A CPU that has AVX512_BF16
    alone computes bfloat16 natively and still slower: 70 against 123 GFLOPS a thread in a matrix product, 5.0 against
    6.2 requests per CPU second with the demo's LLaVA (Xeon of the Emerald Rapids generation, AMX off, torch 2.13). A
    rule on the machine's features, not a measurement, so that a resumed run chooses the same again.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and _cpu_is_fast_at_bfloat16()
    return "bfloat16" if fast else "float32"


def _cpu_is_fast_at_bfloat16() -> bool:
    return bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        and torch.cpu._is_amx_tile_supported()
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may succeed."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        sign in text
        for sign in ("out of memory", "not enough memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    )


def is_fatal(error: BaseException) -> bool:
    """Whether the accelerator is lost to this process.

    After a device-side assert, an illegal address or an ECC error every later CUDA call of the process fails too
    (CUDA Runtime API, "sticky" errors); running out of memory is not among them.
    """
    if is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def recover_or_exit(error: BaseException) -> None:
    """Free the accelerator's memory after a failed batch, or end the process if the accelerator is lost.

    The process ends at once and without clean-up, which would hang on a lost device; Ray replaces the actor.
    """
    if is_fatal(error):
        print(f"the accelerator is lost, the engine's process ends: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
