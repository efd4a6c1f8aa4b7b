"""The published sarcasm tweets through the main job, with real weights."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data.twitter_sarcasm import twitter_sarcasm_posts

REPOSITORY = Path(__file__).parents[2]
PUBLISHED = REPOSITORY.parent / "shared" / "data" / "miko"
POSTS = 200

pytestmark = pytest.mark.skipif(
    not (PUBLISHED / "sarcasm_keyinfo_test.jsonl").is_file(),
    reason="the published sarcasm files are not in ../shared/data/miko",
)


def job(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tweets")
    prepared = job("jobs/prepare_data.py", "twitter-sarcasm", "--source", PUBLISHED, "--output", folder / "data")
    assert prepared.returncode == 0, prepared.stderr
    grid, data, output = "grids/sarcasm_tweets.yaml", folder / "data", folder / "out"
    run = job(
        "jobs/full_grid.py", grid, "--data", data, "--output", output, "--run-id", "tweets", "--limit", str(POSTS)
    )
    assert run.returncode == 0, run.stderr
    return folder / "out"


def test_all_published_posts_are_converted_and_repeated_texts_keep_their_rows():
    posts = list(twitter_sarcasm_posts(PUBLISHED, "test"))
    assert len(posts) == 2409
    assert len({post.post_key for post in posts}) == 2409
    assert len({post.text for post in posts}) == 2409 - 14


def test_every_model_answers_every_tweet_with_the_prompt_for_tweets(root):
    for model in ("majority", "random", "smollm2-135m"):
        (folder,) = (root / "runs" / "tweets" / f"model={model}").iterdir()
        assert (folder / "_SUCCESS.json").is_file()
        rows = pq.read_table(folder / "predictions").to_pylist()
        assert len({row["post_key"] for row in rows}) == len(rows) == POSTS
        assert all(row["error"] is None and row["output"] for row in rows)
        assert all("Is this tweet sarcastic?" in row["prompt"] and "Text: " in row["prompt"] for row in rows)


def test_equal_tweets_have_equal_keys_and_answers(root):
    (folder,) = (root / "runs" / "tweets" / "model=random").iterdir()
    rows = pq.read_table(folder / "predictions").to_pylist()
    by_prompt = {}
    for row in rows:
        by_prompt.setdefault(row["prompt"], set()).add((row["row_key"], row["output"]))
    assert all(len(answers) == 1 for answers in by_prompt.values())
    assert len({row["output"] for row in rows}) == 2


def test_the_baseline_answers_the_majority_of_the_validation_split(root):
    (folder,) = (root / "runs" / "tweets" / "model=majority").iterdir()
    assert set(pq.read_table(folder / "predictions")["output"].to_pylist()) == {"not_sarcastic"}


def test_the_table_has_a_line_for_each_model(root):
    table = pq.read_table(root / "results").to_pylist()
    accuracy = {row["model"]: row for row in table if row["metric"] == "accuracy"}
    assert set(accuracy) == {"majority", "random", "smollm2-135m"}
    assert all(row["n"] == POSTS and row["n_failed"] == 0 for row in accuracy.values())
    assert json.loads((root / "manifests" / "tweets.json").read_text())["status"] == "complete"
