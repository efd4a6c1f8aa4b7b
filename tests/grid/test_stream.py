import json

import pyarrow.parquet as pq
import ray.data
from ray.data._internal.util import _annotate_exception_with_retry_context

from mmsoc_ray.data import open_storage, write_split
from mmsoc_ray.errors import StorageError
from mmsoc_ray.grid.stream import cause_of

BLOCK = 2**20


def test_units_larger_than_rays_blocks_reach_two_actors_whole(
    make_meme, make_picture, toy, ray_session, mmsoc, tmp_path, monkeypatch
):
    side = 700
    posts = [make_meme(f"m{number}", image=make_picture(number, width=side, height=side)) for number in range(24)]
    assert 4 * side * side * 3 > 5 * BLOCK
    write_split(open_storage(tmp_path / "data"), "toy_memes", "test", posts, posts_per_unit=4)
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        f"name: large\ndata: {tmp_path}/data\ndatasets: [toy_memes]\n"
        "tasks: {humor: {max_new_tokens: 2}, sarcasm: {max_new_tokens: 2}}\n"
        f"models:\n  tiny: {{checkpoint: {toy.checkpoint}, settings: [zero_shot], resources: {{actors: 2, gpus: 1}}}}\n"
    )
    monkeypatch.setattr(ray.data.DataContext.get_current(), "target_max_block_size", BLOCK)
    assert mmsoc("run", grid, "--output", tmp_path / "out", "--run-id", "large") == 0
    (folder,) = (tmp_path / "out/runs/large/model=tiny").iterdir()
    rows = pq.read_table(folder / "predictions").to_pylist()
    assert len(list((folder / "predictions").iterdir())) == 6
    assert len(rows) == 48
    assert {(row["post_key"], row["task"]) for row in rows} == {
        (post.post_key, task) for post in posts for task in ("humor", "sarcasm")
    }
    assert {row["error"] for row in rows} == {None}
    assert json.loads((folder / "_SUCCESS.json").read_text())["rows"] == 48


def test_an_error_of_a_task_is_shown_without_the_advice_of_ray():
    advised = _annotate_exception_with_retry_context(
        StorageError("cannot write x"),
        description="map",
        attempts=1,
        max_attempts=1,
        total_backoff_s=0,
        exception_str="",
    )
    assert "\n" in str(advised)
    assert str(cause_of(advised)) == "cannot write x"
