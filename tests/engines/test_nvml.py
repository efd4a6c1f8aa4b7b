from types import SimpleNamespace

import pytest

from mmsoc_ray.engines.nvml import WatchedGpus

GIB = 2**30


class Library:
    """Two GPUs as ``pynvml`` tells of them."""

    class NVMLError(Exception):
        pass

    def __init__(self):
        self.used = {"GPU-a": 3 * GIB, "GPU-b": 5 * GIB}

    def nvmlInit(self):
        pass

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return list(self.used)[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        assert uuid in self.used
        return uuid

    def nvmlDeviceGetName(self, handle):
        return f"NVIDIA {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(used=self.used[handle])


@pytest.mark.parametrize(
    ("visible", "name", "gib"),
    [(None, "NVIDIA GPU-a", 8), ("1", "NVIDIA GPU-b", 5), ("GPU-a", "NVIDIA GPU-a", 3), ("1, 0", "NVIDIA GPU-b", 8)],
)
def test_the_gpus_that_the_process_may_use_are_counted(monkeypatch, visible, name, gib):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus = WatchedGpus(Library())
    assert (gpus.name, gpus.peak_bytes) == (name, gib * GIB)


def test_the_peak_stays_when_memory_is_given_back(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    library = Library()
    gpus = WatchedGpus(library)
    assert gpus.peak_bytes == 3 * GIB
    library.used["GPU-a"] = GIB
    assert gpus.peak_bytes == 3 * GIB


def test_a_gpu_without_a_figure_costs_nothing(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    library = Library()
    gpus = WatchedGpus(library)

    def refuse(handle):
        raise library.NVMLError("not supported")

    monkeypatch.setattr(library, "nvmlDeviceGetMemoryInfo", refuse)
    assert gpus.peak_bytes is None


def test_a_process_without_a_gpu_has_neither_name_nor_memory(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpus = WatchedGpus(Library())
    assert (gpus.name, gpus.peak_bytes) == (None, None)
