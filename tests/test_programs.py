"""Benchmarks and jobs are run seldom: what they import of the package has to be there."""

import ast
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PROGRAMS = [*(REPOSITORY / "benchmarks").glob("*.py"), *(REPOSITORY / "jobs").glob("*.py")]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_program_imports_of_the_package_is_there(program):
    tree = ast.parse(program.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0]
    for node in imports:
        if node.module.split(".")[0] == "mmsoc_ray":
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}"), name.name
