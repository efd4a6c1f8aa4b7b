"""The endpoint engine against a real server in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmsoc_ray.engines import PreparedPost, Request, open_engine
from mmsoc_ray.engines import endpoint as engine_module
from mmsoc_ray.engines.endpoint import check_endpoint
from mmsoc_ray.engines.protocol import Answer
from mmsoc_ray.engines.request_seed import request_seed
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.entry import Decoding, Endpoint, ModelEntry


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("chat_server.py"))], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    server.kill()
    server.wait()


def entry(url: str, **fields: object) -> ModelEntry:
    return ModelEntry("served", "f", 7.0, "endpoint", sees_pictures=True, endpoint=Endpoint(url, **fields))  # type: ignore[arg-type]


def ask(model: ModelEntry, *prompts: str, with_image: bool = False) -> list[Answer]:
    picture = np.zeros((20, 30, 3), np.uint8) if with_image else None
    requests = tuple(Request("zero_shot", "humor", prompt, with_image, 9) for prompt in prompts)
    answers = list(open_engine(model).answer([PreparedPost("p", picture, "i", requests)]))
    assert [answer.request_index for answer in answers] == list(range(len(prompts)))
    return answers


def test_prompt_and_picture_reach_the_server_and_its_answer_comes_back(url: str) -> None:
    (answer,) = ask(entry(url, served_model="m-7b"), "why?", with_image=True)
    assert (answer.output, answer.error) == ("m-7b t=0 n=9 [(30, 20)] why?", None)
    assert (answer.prompt_tokens, answer.output_tokens, answer.finish_reason) == (4, 3, "stop")


def test_example_pictures_reach_the_server_in_their_places(url: str) -> None:
    examples = (np.zeros((4, 5, 3), np.uint8), np.zeros((6, 7, 3), np.uint8))
    request = Request("few_shot_2", "humor", "onetwothree", True, 7, example_pictures=examples, places=(0, 3, 6))
    engine = open_engine(entry(url))
    posts = [PreparedPost(str(side), np.zeros((side, 9, 3), np.uint8), None, (request,)) for side in (2, 3)]
    said = sorted(str(answer.output) for answer in engine.answer(posts))
    assert "[(5, 4), (7, 6), (9, 2)] onetwothree" in said[0]
    assert "[(5, 4), (7, 6), (9, 3)] onetwothree" in said[1]
    body = json.loads(engine_module._body("m", request, ["a", "b", "c"], {}))
    content = body["messages"][0]["content"]
    assert [part.get("text") or part["image_url"]["url"] for part in content] == ["a", "one", "b", "two", "c", "three"]


def test_many_requests_are_each_answered_once(url: str) -> None:
    prompts = [f"number {n}" for n in range(50)]
    assert [answer.output for answer in ask(entry(url), *prompts)] == [f"served t=0 n=9 [] {p}" for p in prompts]


@pytest.mark.parametrize("prompt", ["busy at first", "broken at first"])
def test_a_server_that_fails_in_passing_is_asked_again(url: str, prompt: str) -> None:
    (answer,) = ask(entry(url), prompt)
    assert answer.output == f"served t=0 n=9 [] {prompt}"


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("down for good", f"no answer after {engine_module.ATTEMPTS} attempts; the last: HTTP 503: try again"),
        ("refused", "HTTP 400: no such parameter"),
        ("garbled", "not of the chat protocol (JSONDecodeError"),
        ("moved", "HTTP 302"),
    ],
)
def test_a_request_that_fails_is_an_error_of_its_own(url: str, prompt: str, error: str) -> None:
    bad, good = ask(entry(url), prompt, "fine")
    assert error in (bad.error or "")
    assert (bad.output, bad.finish_reason) == (None, "error")
    assert good.output == "served t=0 n=9 [] fine"


def test_no_server_is_an_error_of_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LONGEST_WAIT_S", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        (answer,) = ask(entry(f"http://127.0.0.1:{free.getsockname()[1]}/v1"), "why?")
    assert "no answer after 6 attempts; the last: URLError" in (answer.error or "")


def test_the_key_comes_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = entry(url, api_key_env="SOME_KEY")
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ConfigurationError, match=r"models.served.endpoint.api_key_env: .* no SOME_KEY"):
        open_engine(model)
    monkeypatch.setenv("SOME_KEY", "secret")
    assert (ask(model, "who?")[0].output or "").endswith("who? signed")
    monkeypatch.setenv("SOME_KEY", "other")
    assert ask(model, "who?")[0].error == "HTTP 401: wrong key"


def test_starts_of_requests_are_spaced(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(engine_module.time, "sleep", slept.append)
    monkeypatch.setattr(engine_module.time, "monotonic", lambda: 100.0)
    pace = engine_module._Pace(600)
    for _ in range(4):
        pace.wait()
    assert slept == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_an_entry_without_an_address_says_how_to_name_one() -> None:
    with pytest.raises(ConfigurationError, match=r"endpoint: \{url: http://HOST:PORT/v1\}"):
        check_endpoint(ModelEntry("m", "f", 1.0, "endpoint"))


@pytest.mark.parametrize(
    ("decoding", "named"),
    [
        (Decoding(num_beams=5), "'num_beams': 5"),
        (Decoding(temperature=0.7, top_k=4), "'top_k': 4"),
        (Decoding(temperature=0.7, repetition_penalty=1.2), "'repetition_penalty': 1.2"),
    ],
)
def test_a_decoding_that_the_protocol_lacks_is_refused(decoding: Decoding, named: str) -> None:
    model = ModelEntry("m", "f", 1.0, "endpoint", decoding=decoding, endpoint=Endpoint("http://h"))
    with pytest.raises(
        ConfigurationError, match=r"models\.m\.decoding: an endpoint answers greedily or samples"
    ) as error:
        check_endpoint(model)
    assert named in str(error.value)
    assert "Set only max_new_tokens, temperature, top_p and seed." in str(error.value)


def test_a_sampled_request_tells_the_server_how_and_its_own_seed(url: str) -> None:
    model = dataclasses.replace(entry(url), decoding=Decoding(temperature=0.7, top_p=0.9, seed=3))
    first, other = (answer.output or "" for answer in ask(model, "why?", "who?"))
    seed = request_seed(3, Request("zero_shot", "humor", "why?", False, 9), None) % 2**31
    assert first == f"served t=0.7 n=9 [] why? p=0.9 seed={seed}"
    assert other.rpartition("=")[2] != first.rpartition("=")[2]
    assert ask(model, "why?")[0].output == first


def test_a_seed_follows_the_picture_that_is_shown(url: str) -> None:
    engine = open_engine(dataclasses.replace(entry(url), decoding=Decoding(temperature=1.0)))
    request, picture = Request("zero_shot", "humor", "why?", True, 9), np.zeros((2, 3, 3), np.uint8)
    said = [answer.output for answer in engine.answer([PreparedPost("p", picture, sha, (request,)) for sha in "aba"])]
    assert said[0] == said[2] != said[1]


def test_a_grid_runs_a_registered_model_through_its_server(url, toy, ray_session, mmsoc, tmp_path) -> None:
    grid = toy.grid(tmp_path / "grid.yaml", models=f"  mplug-owl2-7b: {{endpoint: {{url: '{url}'}}}}")
    run = ("run", grid, "--output", tmp_path / "out", "--run-id", "served", "--tasks", "humor")
    assert mmsoc(*run, "--limit", 3) == 0
    predictions = next((tmp_path / "out/runs/served").glob("model=mplug-owl2-7b/*/predictions"))
    rows = {row["sample_id"]: row for row in pq.read_table(predictions).to_pylist()}
    assert "mplug-owl2-7b t=0 n=3 [(32, 24)] Is this meme humorous?" in rows["m0"]["output"]
    assert rows["m2"]["error"].startswith("PictureError")
    assert {row["engine"] for row in rows.values()} == {"endpoint"}


def test_a_model_of_ones_own_needs_an_address_only(url, toy, mmsoc, capsys, tmp_path) -> None:
    grid = toy.grid(tmp_path / "grid.yaml", models=f"  mine: {{endpoint: {{url: '{url}'}}, settings: [image_only]}}")
    assert mmsoc("plan", grid, "--json", "--tasks", "humor") == 0
    assert json.loads(capsys.readouterr().out)["requests"] == {"mine": 10}
