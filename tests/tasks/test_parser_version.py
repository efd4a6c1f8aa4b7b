"""What the parsers make of a fixed corpus of answers is pinned beside their version.

Scores of finished runs are drawn anew only when ``PARSER_VERSION`` is raised, so a rule must not change without that.
"""

import hashlib
import json
from pathlib import Path

import pytest

from mmsoc_ray.tasks import PARSER_VERSION, TASKS, get_task

ANSWERS: dict[str, list[str]] = json.loads((Path(__file__).parent / "answers.json").read_text("utf-8"))
"""Answers by the task that reads them."""

PINNED = {
    3: "12df27a6aaf8371d23468fb89ba6c285701e3de0163f536e08e25353886128f9",
    4: "42ddc85230865e81e92431dc5a29f361d566b92916c33cfeeaa27bcc7bd67b17",
}
"""Parser version to the digest of the readings. Never change an entry: raise the version and add one."""


def readings() -> list[object]:
    return [
        [task, answer, policy, parsed.values, parsed.refused, parsed.rule]
        for task, answers in ANSWERS.items()
        for answer in answers
        for policy in ("strict", "lenient")
        for parsed in (get_task(task).parse(answer, policy),)  # type: ignore[arg-type]
    ]


def test_a_rule_that_reads_an_answer_otherwise_raises_the_version() -> None:
    digest = hashlib.sha256(json.dumps(readings(), ensure_ascii=True).encode()).hexdigest()
    assert PINNED.get(PARSER_VERSION) == digest, (
        f"parsers read the corpus otherwise than version {PARSER_VERSION} did: raise PARSER_VERSION in "
        f"mmsoc_ray/tasks/parsing.py and pin {digest} for it"
    )


def test_the_corpus_decides_by_every_rule() -> None:
    rules = {rule for *_, rule in readings()}  # type: ignore[misc]
    assert rules >= {"asked_word", "announced", "named", "alone", "leading", "concluded", "refusal", "mentioned"}
    assert rules >= {"several_labels", "no_label", "empty", "split", "quoted", "not_quoted", "no_text", "single_quotes"}


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_task_has_answers(task: str) -> None:
    kinds = {get_task(name).kind for name in ANSWERS}
    assert get_task(task).kind in kinds
