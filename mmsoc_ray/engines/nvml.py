"""The GPUs of this process while another one computes on them, as NVIDIA's management library (NVML) knows them."""

from __future__ import annotations

import contextlib
import os
from typing import Any


class WatchedGpus:
    """The GPUs that this process may use: those of ``CUDA_VISIBLE_DEVICES``, else all.

    Asking NVML takes no memory on a GPU, as a CUDA context of this process would.

    Attributes:
        name: Name of the first.
    """

    def __init__(self, library: Any) -> None:
        """Find the GPUs.

        Args:
            library: The module ``pynvml``.

        Raises:
            library.NVMLError: There is no driver, or no such GPU.
        """
        self._library = library
        library.nvmlInit()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = range(library.nvmlDeviceGetCount()) if visible is None else visible.split(",")
        self._handles = [self._handle(str(name).strip()) for name in names if str(name).strip()]
        self._peak = 0
        self.name = str(library.nvmlDeviceGetName(self._handles[0])) if self._handles else None

    def _handle(self, name: str) -> Any:
        if name.isdigit():
            return self._library.nvmlDeviceGetHandleByIndex(int(name))
        return self._library.nvmlDeviceGetHandleByUUID(name)

    @property
    def peak_bytes(self) -> int | None:
        """The most memory that was taken on all of them whenever this was asked, by whatever program.

        None where NVML has no figure, as of some GPUs that share the host's memory and of parts of a divided one.
        """
        with contextlib.suppress(self._library.NVMLError):
            used = sum(int(self._library.nvmlDeviceGetMemoryInfo(handle).used) for handle in self._handles)
            self._peak = max(self._peak, used)
        return self._peak or None
