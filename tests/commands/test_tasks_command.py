"""``mmsoc tasks``: the list, a task's description, and the check of one's own."""

import pytest

from mmsoc_ray.metrics.definitions import metric_definition
from mmsoc_ray.tasks import TASKS

OWN = "name: mood\nkind: classification\nprompt: How does it feel? Answer 'good' or 'bad'.\nlabels: [good, bad]\n"


def test_the_list_names_every_task_with_its_kind(mmsoc, capsys):
    assert mmsoc("tasks") == 0
    shown = capsys.readouterr().out
    for task in TASKS.values():
        assert f"{task.kind}  " in next(line for line in shown.splitlines() if line.startswith(f"{task.name} "))


@pytest.mark.parametrize("arguments", [("humor",), ("show", "humor")])
def test_a_task_is_described_by_its_name(mmsoc, capsys, arguments):
    assert mmsoc("tasks", *arguments) == 0
    shown = capsys.readouterr().out
    assert "  Text in the image: WHEN YOU FIND THE BOX.\n\n  Is this meme humorous?" in shown
    assert "\n  humorous, the positive one\n" in shown
    assert "named: labels that are answered one by one" in shown
    assert "macro_f1: The mean F1 over all declared labels." in shown


def test_the_parser_of_a_task_without_labels_is_described_by_its_docstring(mmsoc, capsys):
    assert mmsoc("tasks", "ocr") == 0
    assert "Reads the words in a picture: what stands in double quotes" in capsys.readouterr().out


def test_an_unknown_task_ends_with_2_and_the_nearest(mmsoc, capsys):
    assert mmsoc("tasks", "humour") == 2
    assert "unknown task 'humour'. Did you mean 'humor'?" in capsys.readouterr().err


def test_a_task_of_ones_own_is_checked_and_shown(mmsoc, capsys, tmp_path):
    (tmp_path / "mood.yaml").write_text(OWN)
    assert mmsoc("tasks", "check", tmp_path / "mood.yaml") == 0
    shown = capsys.readouterr().out
    assert "  Text: My cat found the printer again.\n\n  How does it feel?" in shown
    assert f"{tmp_path}/mood.yaml is valid. In a grid:  tasks: {{mood: {{file: {tmp_path}/mood.yaml}}}}" in shown
    assert "note: " not in shown


def test_an_answer_word_that_the_prompt_does_not_name_is_noted(mmsoc, capsys, tmp_path):
    (tmp_path / "mood.yaml").write_text(OWN.replace("[good, bad]", "[good, awful]"))
    assert mmsoc("tasks", "check", tmp_path / "mood.yaml") == 0
    assert "note: the prompt does not name the answer word 'awful'" in capsys.readouterr().out


def test_a_wrong_file_ends_with_2_and_its_line(mmsoc, capsys, tmp_path):
    (tmp_path / "mood.yaml").write_text(OWN.replace("[good, bad]", "[good]"))
    assert mmsoc("tasks", "check", tmp_path / "mood.yaml") == 2
    assert "mood.yaml:4: labels: " in capsys.readouterr().err


def test_a_control_character_of_a_file_does_not_reach_the_terminal(mmsoc, capsys, tmp_path):
    (tmp_path / "mood.yaml").write_text(OWN + 'description: "\\e[31mred"\n')
    assert mmsoc("tasks", "check", tmp_path / "mood.yaml") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\\x1b[31mred" in shown


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_metric_of_a_task_has_a_definition(name):
    task = TASKS[name]
    for metric in task.metrics:
        definition = metric_definition(metric, tags=task.kind == "tagging")
        assert definition, metric
        assert definition[0].isupper()


def test_a_metric_of_tags_has_its_own_definition():
    assert metric_definition("exact_match", tags=True) != metric_definition("exact_match")
    assert metric_definition("f1_very_funny") == "F1 of the label very_funny, 0 where undefined."
    assert metric_definition("no_such_metric") == ""
