"""``mmsoc explain`` on whole runs: a tiny checkpoint, and a server that says something worth keeping."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.config import load_grid
from mmsoc_ray.data import Post, open_storage, write_split
from mmsoc_ray.data.explanations import EXPLANATION_SCHEMA
from mmsoc_ray.grid.explain import explaining_grid

SAYS = {
    "not humorous": "I'm sorry, but I cannot judge that.",
    "humorous": "The words of caption and picture clash in a comic way.",
    "not sarcastic": "It is sarcastic, since nobody would mean that.",
    "sarcastic": "Nobody would mean what is said in these words. And so",
}


class Teacher(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = "".join(part.get("text", "") for part in body["messages"][0]["content"])
        self.asked[prompt + str(body["messages"][0]["content"])[-400:]] += 1
        said = next(answer for label, answer in SAYS.items() if f"potentially {label}?" in prompt)
        finish = "stop" if said.endswith(".") else "length"
        answer = {"choices": [{"message": {"content": said}, "finish_reason": finish}]}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Teacher.asked.clear()
    served = ThreadingHTTPServer(("127.0.0.1", 0), Teacher)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture
def taught(toy, server, tmp_path):
    """A grid over the toy memes' training split whose one teacher is the server."""
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    grid = tmp_path / "taught.yaml"
    grid.write_text(
        f"name: taught\ndata: {toy.data}\ndatasets: [toy_memes]\ntasks: [humor, sarcasm]\n"
        f"models:\n  majority:\n  teacher: {{endpoint: {{url: '{url}'}}}}\n"
    )
    return grid


def files(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_worth_learning_becomes_a_file_for_recipes(taught, ray_session, mmsoc, capsys, tmp_path):
    command = ("explain", taught, "--output", tmp_path / "out")
    assert mmsoc(*command) == 0
    shown = capsys.readouterr().out
    assert "explanations of teacher@" in shown
    assert "all 14 8 3 2 refused, 4 contradicts" in " ".join(shown.split())
    table = pq.read_table(tmp_path / "out/explanations/explain-taught.parquet")
    assert table.schema.equals(EXPLANATION_SCHEMA)
    rows = table.to_pylist()
    assert {row["task"]: row["explanation"] for row in rows} == {
        "humor": SAYS["humorous"],
        "sarcasm": "Nobody would mean what is said in these words.",
    }
    kept = {(row["task"], row["post_key"]) for row in rows}
    assert len(kept) == len(rows) == 8
    assert ("humor", "toy_memes/train/m21") not in kept  # whose label the teacher would not explain
    assert {row["source"].split("@")[0] for row in rows} == {"teacher"}
    report = json.loads((tmp_path / "out/explanations/explain-taught.json").read_text())
    assert report["tasks"] == {
        "humor": {"asked": 7, "kept": 5, "shortened": 0, "filtered": {"refused": 2}},
        "sarcasm": {"asked": 7, "kept": 3, "shortened": 3, "filtered": {"contradicts": 4}},
    }
    assert report["datasets"] == {"toy_memes": "train"}
    assert report["questions"]["humor"]["humorous"]["source"] == "MM-Soc"
    prompts = pq.read_table(next((tmp_path / "out/runs/explain-taught").glob("model=*/config=*/predictions")))
    assert set(prompts["setting"].to_pylist()) == {"explain"}


def test_a_teacher_is_asked_exactly_once(taught, ray_session, mmsoc, capsys, tmp_path):
    command = ("explain", taught, "--output", tmp_path / "out", "--run-id", "e-1")
    assert mmsoc(*command) == 0
    assert sum(Teacher.asked.values()) == 14
    assert max(Teacher.asked.values()) == 1
    written = files(tmp_path / "out/explanations")
    assert mmsoc(*command) == 0
    assert "No engine was called" in capsys.readouterr().out
    (lost,) = (tmp_path / "out/runs/e-1").glob("model=*/config=*/predictions/*.parquet")
    lost.unlink()
    for file in (tmp_path / "out/explanations").iterdir():
        file.unlink()
    assert mmsoc(*command) == 0
    assert sum(Teacher.asked.values()) == 28  # the lost unit, again
    assert files(tmp_path / "out/explanations") == written
    # Which software answers at an address is not known, so only --reuse any takes its answers over.
    assert mmsoc(*command[:-1], "e-2", "--reuse", "any") == 0
    assert "14 of 14 answers taken over from run 'e-1'; no engine was called." in capsys.readouterr().out
    assert sum(Teacher.asked.values()) == 28


def test_kill_resume_verify_and_stats_hold_for_a_local_teacher(toy, ray_session, mmsoc, capsys, tmp_path):
    command = ("explain", toy.grid(tmp_path / "toy.yaml"), "--output", tmp_path / "out", "--tasks", "humor")
    command = (*command, "--split", "test", "--max-new-tokens", "3")
    assert mmsoc(*command) == 0
    run = tmp_path / "out/runs/explain-toy"
    assert (mmsoc("verify", run), mmsoc("stats", run)) == (0, 0)
    before = files(tmp_path / "out")
    units = sorted(run.glob("model=tiny/config=*/predictions/*.parquet"))
    units[0].unlink()
    (tmp_path / "out/manifests/explain-toy.json").unlink()
    assert mmsoc(*command) == 0
    assert mmsoc("verify", run) == 0
    after = files(tmp_path / "out")
    changed = {path for path in before if after[path] != before[path]}
    assert {path.name for path in changed} == {units[0].name, "checksums.json"}
    rows = [row for unit in units for row in pq.read_table(unit).to_pylist()]
    assert len(rows) == len({(row["task"], row["post_key"]) for row in rows}) == 10
    report = json.loads((tmp_path / "out/explanations/explain-toy.json").read_text())
    assert report["tasks"]["humor"]["asked"] == 10
    assert report["tasks"]["humor"]["filtered"]["failed"] == 3  # three pictures cannot be shown


def test_a_post_whose_label_is_none_of_the_task_costs_itself_only(toy, server, ray_session, mmsoc, tmp_path):
    posts = [
        Post(f"p{at}", "posts", "train", text=f"text {at}", targets={"humor": (label,)})
        for at, label in enumerate(("humorous", "hilarious", "not_humorous"))
    ]
    write_split(open_storage(tmp_path / "data"), "posts", "train", posts)
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        f"name: g\ndata: {tmp_path}/data\ndatasets: [posts]\ntasks: [humor]\n"
        f"models: {{smollm2-135m: {{engine: endpoint, endpoint: {{url: '{url}'}}}}}}\n"
    )
    assert mmsoc("explain", grid, "--output", tmp_path / "out", "--run-id", "r-1") == 0
    (folder,) = tmp_path.glob("out/runs/r-1/model=*/config=*/predictions")
    errors = {row["sample_id"]: row["error"] for row in pq.read_table(folder).to_pylist()}
    assert "has no label 'hilarious'; it has humorous, not_humorous" in errors.pop("p1")
    assert set(errors.values()) == {None}
    assert mmsoc("verify", tmp_path / "out/runs/r-1") == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--teacher", "majority"), ["--teacher majority", "baseline", "Allowed: tiny"]),
        (("--teacher", "tinny"), ["--teacher", "'tinny'", "Did you mean 'tiny'?"]),
        (("--tasks", "jokes"), ["--tasks", "'jokes'", "Allowed: "]),
        (("--split", "dev"), ["toy_memes", "dev"]),
        (("--limit", "0"), ["--limit 0"]),
        (("--reuse", "some"), ["--reuse 'some'"]),
    ],
)
def test_bad_options_are_refused_before_anything_is_spent(toy, mmsoc, capsys, tmp_path, options, words):
    grid = toy.grid(tmp_path / "toy.yaml")
    assert mmsoc("explain", grid, "--output", tmp_path / "out", *options) == 2
    message = capsys.readouterr().err
    assert [word for word in words if word not in message] == []
    assert not (tmp_path / "out").exists()


def test_the_demo_grid_names_one_teacher_and_explainable_tasks_only():
    grid = load_grid(Path(__file__).parents[2] / "grids" / "explain_demo.yaml")
    asking = explaining_grid(grid, teacher=None, tasks=None, split=None, max_new_tokens=128)
    assert list(asking.models) == ["smollm2-135m"]
    assert asking.tasks.keys() == grid.tasks.keys()
    assert {choice.split for choice in asking.datasets.values()} == {"train"}
