from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_models import MAKERS


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a tiny checkpoint for a model of the registry, one of ``MAKERS``; each is made once."""

    @functools.cache
    def made(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        MAKERS[name](folder)
        return folder

    return made
