"""Puts the faulty engine behind ``open_engine`` in every process that has this folder on its PYTHONPATH.

Where a folder steers the faulty engines, no other engine answers: the libraries of the engine transformers, which its
actors import before they load anything and take six seconds of CPU, are then left out.
"""

import importlib.abc
import importlib.machinery
import os
import sys

TARGET = "mmsoc_ray.engines"
UNUSED = "mmsoc_ray.engines.transformers"


class _Patched(importlib.abc.Loader):
    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        import faulty_engine

        module.open_engine = faulty_engine.instead_of(module.open_engine)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == UNUSED and "MMSOC_TEST_FAULTS" in os.environ:
            raise ModuleNotFoundError(f"{name} is not used beside the faulty engine", name=name)
        if name != TARGET:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        spec.loader = _Patched(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
