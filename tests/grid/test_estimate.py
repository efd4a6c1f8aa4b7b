import dataclasses
from datetime import UTC, datetime

import pytest

from mmsoc_ray.config import Resources
from mmsoc_ray.data import Post, SplitManifest, open_storage, write_split
from mmsoc_ray.grid.estimate import (
    CORE_FLOPS,
    ENOUGH_REQUESTS,
    FLOP_PER_TOKEN,
    GPU_FLOPS,
    as_expected,
    estimate_model,
    last_estimate,
)
from mmsoc_ray.grid.plan import ModelPlan, Question
from mmsoc_ray.grid.prompt_sizes import TextSizes, prompt_tokens, text_sizes
from mmsoc_ray.grid.stats import CellStats, Estimate, JobStats, ModelStats
from mmsoc_ray.models import get_model

ENTRY = dataclasses.replace(get_model("llava-1.5-7b"), dtype="float32")
HUMOR = Question("humor", "zero_shot", "memes", "official", 10)
SARCASM = dataclasses.replace(HUMOR, task="sarcasm")
IMPROVED = dataclasses.replace(HUMOR, setting="self_improve_1")


def plan(*questions: Question, posts: int = 100, engine: str = "transformers", **resources: float) -> ModelPlan:
    memes = SplitManifest(dataset="memes", split="test", posts=posts, tasks={}, digest="d", shards=())
    entry = dataclasses.replace(ENTRY, engine=engine)
    return ModelPlan(entry, Resources(**resources), questions or (HUMOR,), {"memes": memes}, {}, None)


def cell(requests: int = 200, prompt: int = 600, cached: int = 500, output: int = 10) -> CellStats:
    tokens = (prompt * requests, cached * requests, output * requests)
    return CellStats(requests=requests, prompt_tokens=tokens[0], cached_tokens=tokens[1], output_tokens=tokens[2])


def job(
    run_id: str = "r", *, cells: dict[str, CellStats] | None = None, ended: bool = True, **fields: object
) -> JobStats:
    """A process that began after 20 s, answered for 40 s and had a tail of 5 s."""
    given: dict[str, object] = {"engine": "transformers", "dtype": "float32", "begin_s": 20, "first_s": 30}
    given |= {"last_s": 60, "stream_s": 65, "cells": {"zero_shot/humor/memes": cell()} if cells is None else cells}
    model = ModelStats.model_validate({**given, **fields})
    now = datetime(2026, 11, 22, tzinfo=UTC)
    return JobStats(run_id=run_id, job="j", started_at=now, ended=ended, models={ENTRY.name: model})


def never(question: Question) -> float:
    raise AssertionError("the registry was asked")


def test_the_same_questions_take_what_they_took():
    estimate = estimate_model(plan(posts=200), [job()], never)
    (humor,) = estimate.cells
    assert (humor.requests, humor.prompt_tokens, humor.output_tokens) == (200, 120_000, 2_000)
    assert humor.seconds == pytest.approx(40)
    assert (humor.basis, estimate.basis, estimate.overhead_s) == ("measured", "r", 25)
    assert estimate.seconds == pytest.approx(65)


def test_half_the_posts_take_half_the_time_of_answering():
    assert estimate_model(plan(posts=100), [job()], never).seconds == pytest.approx(45)


def test_seconds_are_shared_over_the_tokens_that_are_computed():
    cells = {
        "zero_shot/humor/memes": cell(prompt=600, cached=500),
        "zero_shot/sarcasm/memes": cell(prompt=600, cached=270),
    }
    humor, sarcasm = estimate_model(plan(HUMOR, SARCASM, posts=200), [job(cells=cells)], never).cells
    assert humor.seconds == pytest.approx(40 * 110 / 450)
    assert sarcasm.seconds == pytest.approx(40 * 340 / 450)


def test_a_model_that_computes_no_token_is_measured_by_its_requests():
    cells = {"zero_shot/humor/memes": cell(prompt=0, cached=0, output=0)}
    (humor,) = estimate_model(plan(posts=100), [job(cells=cells)], never).cells
    assert (humor.prompt_tokens, humor.seconds) == (0, pytest.approx(20))


def test_a_new_task_takes_what_others_in_its_setting_take():
    (sarcasm,) = estimate_model(plan(SARCASM, posts=100), [job()], never).cells
    assert (sarcasm.prompt_tokens, sarcasm.basis) == (60_000, "similar")
    assert sarcasm.seconds == pytest.approx(20)


def test_the_same_task_on_other_posts_goes_before_other_tasks():
    cells = {"zero_shot/humor/memes": cell(prompt=900), "zero_shot/sarcasm/news": cell(prompt=700)}
    (sarcasm,) = estimate_model(plan(SARCASM), [job(cells=cells)], never).cells
    assert sarcasm.prompt_tokens == 70_000


def test_what_is_taken_over_is_not_counted():
    estimate = estimate_model(plan(HUMOR, SARCASM), [job()], never, lambda q: 100 if q == HUMOR else 40)
    assert [c.requests for c in estimate.cells] == [0, 60]
    assert estimate_model(plan(), [job()], never, lambda q: 100).seconds == 0


def test_every_round_is_a_request():
    (improved,) = estimate_model(plan(IMPROVED), [job()], never, lambda q: 10).cells
    assert improved.requests == 180


@pytest.mark.parametrize(
    "other",
    [
        {"engine": "vllm"},
        {"dtype": "bfloat16"},
        {"gpus": 1.0},
        {"begin_s": None, "last_s": 0.0},
        {"cells": {}},
    ],
)
def test_a_run_with_another_engine_dtype_or_device_says_nothing(other):
    estimate = estimate_model(plan(), [job(**other)], lambda q: 500.0)
    assert estimate.basis == "assumed"


def test_the_newest_run_that_asked_enough_counts():
    few = {"zero_shot/humor/memes": cell(ENOUGH_REQUESTS - 1)}
    jobs = [job("newest", cells=few), job("new"), job("old")]
    assert estimate_model(plan(), jobs, never).basis == "new"
    fewer = {"zero_shot/humor/memes": cell(2)}
    assert estimate_model(plan(), [job("newest", cells=fewer), job("new", cells=few)], never).basis == "new"


def test_twice_the_gpus_answer_in_half_the_time_and_take_as_many_gpu_hours():
    one = estimate_model(plan(posts=200, actors=1, gpus=1), [job(gpus=1.0)], never)
    two = estimate_model(plan(posts=200, actors=2, gpus=1), [job(gpus=1.0)], never)
    assert one.seconds == pytest.approx(25 + 40)
    assert two.seconds == pytest.approx(25 + 20)
    assert one.gpu_hours == pytest.approx(65 / 3600)
    assert two.gpu_hours == pytest.approx(2 * 45 / 3600)


def test_without_a_run_the_registry_says_how_many_tokens_and_an_assumption_how_fast():
    estimate = estimate_model(plan(actors=2, gpus=1), [], lambda q: 600.0)
    (humor,) = estimate.cells
    assert (humor.prompt_tokens, humor.output_tokens, humor.basis) == (60_000, 1_000, "assumed")
    assert humor.seconds == pytest.approx(61_000 * FLOP_PER_TOKEN * 7.063e9 / (2 * GPU_FLOPS))
    assert estimate.overhead_s is None
    on_cpu = estimate_model(plan(actors=1, threads=4), [], lambda q: 600.0).seconds
    assert on_cpu == pytest.approx(61_000 * FLOP_PER_TOKEN * 7.063e9 / (4 * CORE_FLOPS))


def test_what_nobody_knows_is_none():
    estimate = estimate_model(plan(gpus=1), [], lambda q: None)
    assert (estimate.cells[0].prompt_tokens, estimate.cells[0].output_tokens) == (None, 1_000)
    assert (estimate.seconds, estimate.gpu_hours) == (None, None)
    served = estimate_model(plan(engine="endpoint"), [], lambda q: 600.0)
    assert (served.seconds, served.gpu_hours) == (None, 0)


def test_an_estimate_is_recorded_by_the_request():
    recorded = as_expected(estimate_model(plan(posts=200), [job()], never))
    assert recorded is not None
    assert (recorded.basis, recorded.overhead_s) == ("r", 25)
    assert recorded.request_s == {"zero_shot/humor/memes": pytest.approx(0.2)}
    assert as_expected(estimate_model(plan(), [], lambda q: None)) is None


def test_the_last_estimate_is_that_of_the_newest_run_that_ended_and_had_one():
    expected = Estimate(basis="assumed", overhead_s=10, request_s={"zero_shot/humor/memes": 0.25})
    jobs = [job("killed", ended=False, estimate=expected), job("none"), job("had", estimate=expected), job("older")]
    assert last_estimate(plan(), jobs) == ("had", 60, 65)
    assert last_estimate(plan(), []) is None


def test_a_prompt_is_its_pictures_and_a_token_for_four_characters():
    asked = len(HUMOR.definition.question("official"))
    texts = TextSizes(text=400, transcription=100)
    assert prompt_tokens(HUMOR, ENTRY, texts) == 576 + asked / 4
    text_only = dataclasses.replace(HUMOR, setting="text_only")
    longer = prompt_tokens(text_only, ENTRY, texts)
    assert longer is not None
    assert 125 < longer - asked / 4 < 140
    few_shot = dataclasses.replace(HUMOR, setting="few_shot_2")
    one_picture = dataclasses.replace(ENTRY, several_pictures="")
    assert prompt_tokens(few_shot, dataclasses.replace(ENTRY, several_pictures="yes"), texts) == 3 * (576 + asked / 4)
    assert prompt_tokens(few_shot, one_picture, texts) == 576 + 3 * asked / 4
    assert prompt_tokens(IMPROVED, ENTRY, texts) == 576 + asked / 4 + (10 + asked / 4) / 2


def test_where_the_tokens_of_a_picture_are_not_known_those_of_the_prompt_are_not():
    unknown = dataclasses.replace(ENTRY, family="mine")
    assert prompt_tokens(HUMOR, unknown, TextSizes()) is None
    assert prompt_tokens(dataclasses.replace(HUMOR, setting="text_only"), unknown, TextSizes()) is not None


def test_text_sizes_are_about_the_mean_of_the_texts(tmp_path):
    posts = [
        Post(f"p{number}", "memes", "test", text=f"{number:04d}" * 50, targets={"humor": ("humorous",)})
        for number in range(30)
    ]
    data = open_storage(tmp_path)
    manifest = write_split(data, "memes", "test", posts)
    sizes = text_sizes(data, manifest)
    assert sizes.text == pytest.approx(200, rel=0.2)
    assert sizes.transcription < 10
