import subprocess
import sys

import mmsoc_ray.results as door


def test_every_listed_name_is_there() -> None:
    assert [name for name in door.__all__ if not hasattr(door, name)] == []


def test_the_schemas_come_without_the_libraries_that_score() -> None:
    heavy = "('ray', 'torch', 'sklearn', 'pandas')"
    code = f"import sys, mmsoc_ray.results.schema; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
