from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from mmsoc_ray.engines import Engine, MajorityEngine, PreparedPost, RandomEngine, Request, baseline, fit_baseline
from mmsoc_ray.tasks import TASKS

ANSWERS = {name: task.answers for name, task in TASKS.items() if task.answers}
TRAIN: list[dict[str, Sequence[str]]] = [
    {"humor": ["humorous"], "tagging": ["cats", "dogs"], "ocr": ['he said "no"'], "image_description": ["A cat."]},
    {"humor": ["not_humorous"], "tagging": ["cats"], "ocr": ["b"], "image_description": ["A dog."]},
    {"humor": ["humorous"], "tagging": ["birds", "dogs"], "ocr": ['he said "no"'], "image_description": ["A dog."]},
    {"hate_speech": ["hateful"], "misinformation": ["misinformation"], "sentiment": ["neutral"]},
]


def ask(engine: Engine, *requests: Request, image_sha256: str | None = None) -> list[str | None]:
    return [answer.output for answer in engine.answer([PreparedPost("p", None, image_sha256, requests)])]


def request(task: str, prompt: str = "?", setting: str = "zero_shot", with_image: bool = False) -> Request:
    return Request(setting, task, prompt, with_image, 8)


def test_majority_answers_as_its_docstring_says() -> None:
    tasks = ("humor", "tagging", "ocr", "image_description")
    said = ask(MajorityEngine(fit_baseline(TRAIN), ANSWERS), *map(request, tasks))
    assert said == ["humorous", "cats, dogs", "\"he said 'no'\"", "A dog."]


def test_ties_are_broken_in_lexicographic_order() -> None:
    fit = fit_baseline([{"humor": [label]} for label in ("not_humorous", "humorous")])
    assert ask(MajorityEngine(fit, ANSWERS), request("humor")) == ["humorous"]


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.kind == "classification"])
def test_every_label_is_answered_with_a_word_that_the_parser_reads(name: str) -> None:
    task = TASKS[name]
    for label in task.labels:
        engine = MajorityEngine(fit_baseline([{name: [label]}]), ANSWERS)
        [said] = ask(engine, request(name))
        assert task.parse(said or "", "strict").values == (label,)


def test_tags_and_words_in_pictures_are_read_by_their_parsers() -> None:
    engine = MajorityEngine(fit_baseline(TRAIN), ANSWERS)
    tags, text = ask(engine, request("tagging"), request("ocr"))
    assert TASKS["tagging"].parse(tags or "").values == ("cats", "dogs")
    assert TASKS["ocr"].parse(text or "").values == ("he said 'no'",)


def test_random_labels_follow_the_frequencies_of_train() -> None:
    fit = fit_baseline([{"humor": ["humorous"]}] * 3 + [{"humor": ["not_humorous"]}])
    said = Counter(ask(RandomEngine(fit, ANSWERS, seed=0), *(request("humor", str(i)) for i in range(2000))))
    assert 1400 < said["humorous"] < 1600
    assert said.total() == 2000


def test_random_depends_on_content_only() -> None:
    engine = RandomEngine(fit_baseline(TRAIN), ANSWERS, seed=0)
    requests = [request(task, f"{task} {i}") for i in range(20) for task in ("humor", "tagging", "ocr")]
    said = ask(engine, *requests)
    assert ask(engine, *reversed(requests)) == said[::-1]
    assert ask(engine, *(request(r.task, r.prompt, setting="with_ocr") for r in requests)) == said
    assert ask(RandomEngine(fit_baseline(TRAIN), ANSWERS, seed=1), *requests) != said


def test_random_tells_posts_with_the_same_prompt_apart_by_their_pictures() -> None:
    engine = RandomEngine(fit_baseline(TRAIN), ANSWERS, seed=0)
    said = [ask(engine, request("humor"), image_sha256=str(i)) for i in range(30)]
    assert len({tuple(answers) for answers in said}) == 2
    assert said == [ask(engine, request("humor", with_image=True), image_sha256=str(i)) for i in range(30)]


@pytest.mark.parametrize("kind", [MajorityEngine, lambda fit, answers: RandomEngine(fit, answers, seed=0)])
def test_labels_are_scored_by_their_frequency_in_train(kind) -> None:
    asked = Request("zero_shot", "humor", "?", False, 8, labels=ANSWERS["humor"])
    plain = request("humor")
    [scored, unscored] = kind(fit_baseline(TRAIN), ANSWERS).answer([PreparedPost("p", None, None, (asked, plain))])
    assert scored.label_scores == {"humorous": pytest.approx(2 / 3), "not_humorous": pytest.approx(1 / 3)}
    assert unscored.label_scores is None


def test_a_label_that_train_lacks_has_no_probability() -> None:
    asked = Request("zero_shot", "sentiment", "?", False, 8, labels=ANSWERS["sentiment"])
    [answer] = MajorityEngine(fit_baseline(TRAIN), ANSWERS).answer([PreparedPost("p", None, None, (asked,))])
    assert answer.label_scores == {"positive": 0, "neutral": 1, "negative": 0}


def test_a_task_without_targets_gets_an_error_and_its_neighbour_an_answer() -> None:
    engine = MajorityEngine(fit_baseline(TRAIN), ANSWERS)
    missing, there = engine.answer([PreparedPost("p", None, None, (request("sarcasm"), request("humor")))])
    assert missing.output is None
    assert missing.finish_reason == "error"
    assert "sarcasm" in (missing.error or "")
    assert there.output == "humorous"


def test_a_label_without_answer_word_gets_an_error_that_names_it() -> None:
    engine = MajorityEngine(fit_baseline([{"humor": ["funny"]}]), ANSWERS)
    [answer] = engine.answer([PreparedPost("p", None, None, (request("humor"),))])
    assert "'funny'" in (answer.error or "")


def test_the_order_of_train_does_not_matter() -> None:
    assert fit_baseline(TRAIN).digest == fit_baseline(reversed(TRAIN)).digest
    assert fit_baseline(TRAIN).digest != fit_baseline(TRAIN[1:]).digest


def test_memory_is_bounded_whatever_the_size_of_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "DISTINCT_REFERENCES", 10)
    monkeypatch.setattr(baseline, "SAMPLED_POSTS", 5)
    fit = fit_baseline({"ocr": [str(i % 50)]} for i in range(1000)).tasks["ocr"]
    assert (fit.posts, len(fit.counts), len(fit.sample)) == (1000, 10, 5)
    assert fit.counts[0] == ("0", 20)
