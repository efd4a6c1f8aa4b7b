import shutil

import pytest


@pytest.fixture
def copy(toy_run, tmp_path):
    """A copy of the finished run, to be damaged and mended."""
    shutil.copytree(toy_run.root, tmp_path / "out")
    return type(toy_run)(tmp_path / "out", toy_run.run_id, toy_run.grid)
