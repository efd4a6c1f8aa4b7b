"""Tasks of a user's own: what their files say, and how a wrong one is refused."""

import pickle
from pathlib import Path

import pytest

from mmsoc_ray.config import load_grid, load_task_file
from mmsoc_ray.data import Post
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.tasks import TASKS, Task, render

TOXICITY = """\
name: toxicity
kind: classification
prompt: Is this post toxic? Answer 'Yes' or 'No'.
labels:
  toxic: {answer: "Yes", synonyms: [abusive]}
  civil: {answer: "No"}
positive: toxic
description: Decides whether a post is toxic.
"""


def load(folder: Path, text: str) -> Task:
    file = folder / "task.yaml"
    file.write_text(text)
    return load_task_file(file).task()


def refusal(folder: Path, old: str, new: str) -> str:
    """Return the message with which the task is refused in which ``old`` has become ``new``."""
    assert old in TOXICITY
    with pytest.raises(ConfigurationError) as caught:
        load(folder, TOXICITY.replace(old, new, 1))
    return str(caught.value).removeprefix(f"{folder}/task.yaml")


def test_a_classification_reads_answer_words_synonyms_and_yes_and_no(tmp_path):
    task = load(tmp_path, TOXICITY)
    said = ("Yes.", "No", "This is abusive.", "It is not toxic.", "civil")
    assert [task.parse(answer).value for answer in said] == ["toxic", "civil", "toxic", "civil", "civil"]
    assert task.parse("toxic", "strict").value is None
    assert task.positive == "toxic"
    assert {"f1_toxic", "auroc", "macro_f1"} <= set(task.metrics)
    assert render(task, Post("1", "d", "s", text="hello"), "zero_shot").startswith(
        "Text: hello.\n\nIs this post toxic?"
    )


def test_labels_may_be_a_list_or_a_mapping_to_answer_words(tmp_path):
    listed = load(tmp_path, "name: t\nkind: classification\nprompt: Which?\nlabels: [red, green, blue]\n")
    assert listed.answers == {"red": "red", "green": "green", "blue": "blue"}
    short = load(tmp_path, "name: t\nkind: classification\nprompt: Which?\nlabels: {red: R, green: G}\n")
    assert short.answers == {"red": "R", "green": "G"}


@pytest.mark.parametrize(
    ("kind", "built_in"), [("tagging", "tagging"), ("ocr", "ocr"), ("free_text", "social_context")]
)
def test_other_kinds_are_read_scored_and_cut_as_the_built_in_tasks(tmp_path, kind, built_in):
    task = load(tmp_path, f"name: mine\nkind: {kind}\nprompt: What?\n")
    like = TASKS[built_in]
    assert (type(task.parse), task.metrics, task.max_new_tokens) == (
        type(like.parse),
        like.metrics,
        like.max_new_tokens,
    )


def test_chosen_metrics_stand_in_their_order_and_success_rate_always(tmp_path):
    task = load(tmp_path, TOXICITY + "metrics: [mcc, accuracy]\nmax_new_tokens: 4\nuses_text: false\n")
    assert task.metrics == ("mcc", "accuracy", "success_rate")
    assert task.max_new_tokens == 4
    assert render(task, Post("1", "d", "s", text="hello"), "zero_shot") == task.prompt


def test_a_task_of_ones_own_can_be_sent_to_another_process(tmp_path):
    task = load(tmp_path, TOXICITY)
    assert pickle.loads(pickle.dumps(task)) == task


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: toxicity", "name: humor", ":1: name: 'humor' is a task that is built in"),
        ("name: toxicity", "name: ../x", ":1: name: String should match pattern"),
        ("kind: classification", "kind: regression", ":2: kind: Input should be 'classification', 'tagging', 'ocr' or"),
        ("kind: classification", "kind: ocr", ":7: positive: only a classification has a positive label"),
        ("prompt: Is this", "promt: Is this", ":3: promt: unknown field 'promt'. Did you mean 'prompt'?"),
        ("prompt: Is this post toxic? Answer 'Yes' or 'No'.", 'prompt: " "', ":3: prompt: String should match pattern"),
        ('answer: "Yes"', "answer: Yes", ":5: labels.toxic.answer: Input should be a valid string (got True)"),
        ('{answer: "No"}', "No", ":4: labels: put yes and no in quotes: YAML reads them as true and false"),
        ('  civil: {answer: "No"}\n', "", ":4: labels: labels ['toxic'] must be at least two different ones. Name at"),
        ('answer: "No"', 'answer: "Yes"', ":4: labels: labels 'toxic' and 'civil' are both asked for by 'Yes'."),
        ("[abusive]", "[civil]", ":4: labels: labels 'toxic' and 'civil' share the word 'civil'."),
        ("synonyms", "synonym", ":5: labels.toxic.synonym: unknown field 'synonym'. Did you mean 'synonyms'?"),
        ("positive: toxic", "positive: toxik", ":7: positive: unknown label 'toxik'. Did you mean 'toxic'?"),
        ("positive: toxic", "metrics: [f1]", ":7: metrics: unknown metric of a classification task 'f1'."),
        ("positive: toxic", "metrics: [mcc, mcc]", ":7: metrics: mcc stands twice."),
        ("positive: toxic", "max_new_tokens: 0", ":7: max_new_tokens: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_file_is_refused_with_line_field_and_remedy(tmp_path, old, new, message):
    assert message in refusal(tmp_path, old, new)


def test_a_tag_has_no_answer_word(tmp_path):
    with pytest.raises(ConfigurationError, match=r"labels\.a: a tag is said as it is. Give the vocabulary as a plain"):
        load(tmp_path, "name: t\nkind: tagging\nprompt: Which?\nlabels: {a: A, b: B}\n")


@pytest.mark.parametrize("text", ["", "- a\n", "text\n"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(
        ConfigurationError, match="a task is a mapping with name, kind, prompt and, to classify, labels"
    ):
        load(tmp_path, text)


GRID = "name: g\ndata: d\ndatasets: [posts]\ntasks:\n  toxicity: {file: task.yaml}\nmodels: [majority]\n"


def grid_refusal(folder: Path, grid: str) -> str:
    (folder / "grid.yaml").write_text(grid)
    with pytest.raises(ConfigurationError) as caught:
        load_grid(folder / "grid.yaml")
    return str(caught.value)


def test_a_grid_takes_a_task_from_the_file_beside_it(tmp_path):
    load(tmp_path, TOXICITY)
    (tmp_path / "grid.yaml").write_text(GRID)
    grid = load_grid(tmp_path / "grid.yaml")
    assert grid.own_task("toxicity") == load(tmp_path, TOXICITY)
    assert grid.model_copy(update={"seed": 1}).own_task("toxicity") is not None


def test_a_wrong_task_file_is_named_with_the_grids_line_and_its_own(tmp_path):
    (tmp_path / "task.yaml").write_text(TOXICITY.replace("positive: toxic", "positive: x"))
    assert f"grid.yaml:5: tasks.toxicity.file: {tmp_path}/task.yaml:7: positive: " in grid_refusal(tmp_path, GRID)
    missing = grid_refusal(tmp_path, GRID.replace("task.yaml", "absent.yaml"))
    assert "absent.yaml: cannot be read" in missing


def test_a_file_that_calls_its_task_otherwise_is_refused(tmp_path):
    (tmp_path / "task.yaml").write_text(TOXICITY)
    message = grid_refusal(tmp_path, GRID.replace("toxicity:", "toxic:"))
    assert "tasks.toxic.file: " in message
    assert "calls the task 'toxicity'. Write the same name in both." in message


def test_an_unknown_task_is_said_to_need_its_file(tmp_path):
    assert "names its file in tasks.toxicity.file" in grid_refusal(tmp_path, GRID.replace(" {file: task.yaml}", ""))


def test_a_variant_that_a_task_of_ones_own_lacks_is_refused(tmp_path):
    (tmp_path / "task.yaml").write_text(TOXICITY)
    message = grid_refusal(tmp_path, GRID.replace("task.yaml}", "task.yaml, prompt: tweet}"))
    assert "unknown variant of the prompt 'tweet'. Allowed: official." in message
