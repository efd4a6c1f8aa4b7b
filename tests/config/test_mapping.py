import pickle

import pytest

from mmsoc_ray.data.sources import load_mapping, mapping_yaml, published_mappings, with_splits
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.tasks import TASKS

GOOD = """\
dataset: my_memes
files: {test: labels.csv}
sample_id: id
image: {column: file, folder: pictures}
text: caption
targets:
  humor: {column: funny, labels: {1: humorous, 0: not_humorous}}
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        (tmp_path / "mapping.yaml").write_text(text)
        return load_mapping(tmp_path / "mapping.yaml")

    return load


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("text:", "txt:", "mapping.yaml:5: txt: unknown field 'txt'. Did you mean 'text'?"),
        ("folder:", "folders:", "mapping.yaml:4: image.folders: unknown field 'folders'. Did you mean 'folder'?"),
        ("  humor:", "  humour:", "mapping.yaml:7: targets.humour: unknown task 'humour'. Did you mean 'humor'?"),
        ("1: humorous", "1: funny", "mapping.yaml:7: targets.humor.labels.1: unknown label of humor 'funny'."),
        (
            "1: humorous",
            "yes: humorous",
            "YAML takes a bare yes, no, true or false for a truth value; put the words in quotes",
        ),
        ("column: funny, labels: {1: humorous, 0: not_humorous}", "column: funny, separator: x", "takes one label"),
        (
            "humor: {column: funny, labels: {1: humorous, 0: not_humorous}}",
            "tagging: {column: funny, separator: x, as_list: true}",
            "a list needs no separator",
        ),
        ("humor: {column: funny, labels:", "tagging: {column: funny, labels:", "tagging has no labels of its own"),
        ("my_memes", "../memes", "mapping.yaml:1: dataset: String should match pattern"),
        ("{test: labels.csv}", "labels.csv", "says no splits. Write files: {test: FILE}"),
        (
            "{test: labels.csv}",
            "{test: labels.csv}\nsplit_column: part",
            "files name the splits, and so does split_column",
        ),
        ("{test: labels.csv}", "labels.csv\nsplits: head_70_30", "mapping.yaml:3: splits: Input should be 'official'"),
        ("text: caption", "text: [caption, 3]", "mapping.yaml:5: text.1: Input should be a valid string"),
        (
            "image: {column: file, folder: pictures}\ntext: caption\n",
            "",
            "a post needs an image, a text or a transcription",
        ),
    ],
)
def test_a_wrong_mapping_names_line_field_and_remedy(old, new, message, load):
    assert old in GOOD
    with pytest.raises(ConfigurationError) as raised:
        load(GOOD.replace(old, new, 1))
    assert message in str(raised.value)


def test_a_mapping_that_is_no_mapping_is_refused(load):
    with pytest.raises(ConfigurationError, match="at least dataset, files, targets"):
        load("- a\n- b\n")


def test_an_unknown_name_lists_the_published_mappings():
    with pytest.raises(ConfigurationError, match=r"unknown mapping 'memotio'. Did you mean 'memotion'.*gossipcop"):
        load_mapping("memotio")


@pytest.mark.parametrize("name", published_mappings())
def test_a_mapping_and_its_yaml_say_the_same(name, load):
    mapping = load_mapping(name)
    assert load(mapping_yaml(mapping)) == mapping


def test_columns_are_listed_once_and_without_the_file():
    assert load_mapping("fakenewsnet_politifact").columns() == ("id", "title")


def test_a_rule_from_outside_replaces_the_one_of_the_mapping():
    assert "split" in load_mapping("memotion").columns()
    assert "split" not in with_splits(load_mapping("memotion"), "head_90_10").columns()
    with pytest.raises(ConfigurationError, match="--splits: unknown rule 'head_90'"):
        with_splits(load_mapping("memotion"), "head_90")
    with pytest.raises(ConfigurationError, match=r"--splits official: the mapping .*says no splits"):
        with_splits(load_mapping("youtube2m"), "official")


TASK = """\
name: toxicity
kind: classification
prompt: Is this post toxic? Answer 'Yes' or 'No'.
labels: {toxic: "Yes", civil: "No"}
"""
OWN = "  toxicity: {column: tox, task_file: tasks/toxicity.yaml, labels: {1: toxic, 0: civil}}\n"


@pytest.fixture
def task_file(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/toxicity.yaml").write_text(TASK)
    return tmp_path / "tasks/toxicity.yaml"


def test_a_mapping_takes_a_task_of_ones_own_from_beside_it_and_keeps_it(load, task_file):
    mapping = load(GOOD + OWN)
    changed = pickle.loads(pickle.dumps(with_splits(mapping, "head_80_20")))
    assert changed.task("toxicity").labels == ("toxic", "civil")
    assert changed.task("humor") is TASKS["humor"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", task_file: tasks/toxicity.yaml", "", "A task of your own names its file in targets.toxicity.task_file."),
        ("1: toxic", "1: rude", "targets.toxicity.labels.1: unknown label of toxicity 'rude'. Allowed: civil, toxic."),
        ("tasks/", "", "targets.toxicity.task_file: "),
        ("  toxicity:", "  toxic:", "calls the task 'toxicity'. Write the same name in both."),
        ("labels:", "separator: x, labels:", "targets.toxicity.separator: toxicity takes one label"),
    ],
)
def test_a_wrong_task_of_ones_own_is_refused_where_it_stands(old, new, message, load, task_file):
    with pytest.raises(ConfigurationError) as raised:
        load(GOOD + OWN.replace(old, new, 1))
    assert "mapping.yaml:8: " in str(raised.value)
    assert message in str(raised.value)
