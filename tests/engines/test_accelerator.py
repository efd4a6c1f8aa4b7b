from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from mmsoc_ray.engines.accelerator import choose_dtype, is_fatal, is_out_of_memory

FATAL = "CUDA error: device-side assert triggered"


def test_a_device_side_assert_is_fatal() -> None:
    assert is_fatal(torch.AcceleratorError(FATAL))
    assert is_fatal(RuntimeError(FATAL))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_running_out_of_memory_is_not_fatal(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_fatal(error)


def test_a_bad_value_is_neither() -> None:
    error = ValueError("a picture of shape (0, 0, 3)")
    assert not is_fatal(error)
    assert not is_out_of_memory(error)


def test_a_lost_accelerator_ends_the_process_and_says_why() -> None:
    code = f"""
import torch
from mmsoc_ray.engines.accelerator import recover_or_exit
recover_or_exit(ValueError("bad picture"))
print("still here", flush=True)
recover_or_exit(torch.AcceleratorError({FATAL!r}))
print("never", flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stdout == "still here\n"
    assert FATAL in ended.stderr


@pytest.mark.parametrize(("has_tiles", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_where_the_cpu_is_fast_at_it(
    monkeypatch: pytest.MonkeyPatch, has_tiles: bool, dtype: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert choose_dtype("auto", torch.device("cpu")) == dtype


def test_a_dtype_asked_for_is_taken() -> None:
    assert choose_dtype("bfloat16", torch.device("cpu")) == "bfloat16"
