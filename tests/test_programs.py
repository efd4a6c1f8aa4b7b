"""Benchmarks and jobs are run seldom: what they take of the package and of each other has to be there."""

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


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_program_takes_of_its_neighbours_is_there(program):
    neighbours = {file.stem: _defined(file) for file in program.parent.glob("*.py")}
    tree = ast.parse(program.read_text())
    taken = [
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    taken += [(node.module, name.name) for node in imports for name in node.names]
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules = neighbours.keys() & (imported | {node.module for node in imports})
    assert [(module, name) for module, name in taken if module in modules and name not in neighbours[module]] == []


def _defined(file):
    """Return the names that a module's own statements give to something."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.asname or name.name for name in node.names}
    return found
