from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from mmsoc_ray.config.located_yaml import read_located_yaml, validate
from mmsoc_ray.errors import ConfigurationError


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = 1


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    parts: dict[str, Part] = {}
    spare: Part | None = None


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "grid.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        validate(Whole, read_located_yaml(written(folder, text)))
    return str(caught.value)


def test_every_field_knows_its_line(tmp_path):
    source = read_located_yaml(
        written(tmp_path, "name: x\n\n# a comment\nparts:\n  one:\n    size: 2\nlist: [a,\n  b]\n")
    )
    assert source.content == {"name": "x", "parts": {"one": {"size": 2}}, "list": ["a", "b"]}
    lines = {field: source.lines[field] for field in (("name",), ("parts",), ("parts", "one", "size"), ("list", 1))}
    assert lines == {("name",): 1, ("parts",): 4, ("parts", "one", "size"): 6, ("list", 1): 8}


def test_a_field_that_is_absent_is_placed_at_its_parent(tmp_path):
    source = read_located_yaml(written(tmp_path, "name: x\nparts:\n  one: {}\n"))
    assert source.where(("parts", "one", "size")) == f"{tmp_path}/grid.yaml:3: parts.one.size"


def test_a_repeated_key_is_refused_with_its_second_line(tmp_path):
    message = refusal(tmp_path, "name: x\nparts:\n  one: {}\n  two: {}\n  one: {size: 3}\n")
    assert message == f"{tmp_path}/grid.yaml:5: 'one' stands twice. Keep one of them."


def test_the_same_key_in_two_mappings_is_allowed(tmp_path):
    read = read_located_yaml(written(tmp_path, "name: x\nparts:\n  one: {size: 1}\n  two: {size: 1}\n"))
    assert set(read.content["parts"]) == {"one", "two"}


def test_a_file_that_is_not_utf8_is_refused_by_name(tmp_path):
    assert refusal(tmp_path, "name: Müll".encode("latin-1")).startswith(f"{tmp_path}/grid.yaml: is not UTF-8 text")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: cannot be read \(No such file or directory\)"):
        read_located_yaml(tmp_path / "absent.yaml")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_located_yaml(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: x\nparts:\n\tone: {}\n", 3),
        ("name: x\nparts: [unclosed\n", 3),
        ("name: x\nparts: {a: b: c}\n", 2),
        ("--- 1\n--- 2\n", 2),
    ],
    ids=["tab", "unclosed list", "two colons", "two documents"],
)
def test_what_is_no_yaml_is_refused_with_its_line(tmp_path, text, line):
    message = refusal(tmp_path, text)
    assert message.startswith(f"{tmp_path}/grid.yaml: is no valid YAML:")
    assert f"line {line}, column" in message


def test_a_control_character_is_refused(tmp_path):
    assert "is no valid YAML: unacceptable character" in refusal(tmp_path, "name: \x00\n")


def test_tags_build_no_objects(tmp_path):
    message = refusal(tmp_path, f"name: !!python/object/apply:os.system ['touch {tmp_path}/harmed']\n")
    assert "could not determine a constructor" in message
    assert not (tmp_path / "harmed").exists()


def test_a_date_that_is_none_is_refused(tmp_path):
    assert "Put it in quotes" in refusal(tmp_path, "name: 2026-13-45\n")


@pytest.mark.parametrize("text", ["? [a, b]\n: c\n", "{a: b}: c\n"])
def test_a_name_that_is_no_text_is_refused(tmp_path, text):
    assert refusal(tmp_path, text).startswith(f"{tmp_path}/grid.yaml:1: a field's name is a list or a mapping.")


@pytest.mark.parametrize("text", ["name: &loop [*loop]\n", "name: x\nparts: &loop\n  one: *loop\n"])
def test_an_alias_that_holds_itself_is_refused(tmp_path, text):
    assert "an alias holds itself" in refusal(tmp_path, text)


def test_an_alias_may_stand_for_a_part(tmp_path):
    source = read_located_yaml(written(tmp_path, "name: x\nparts:\n  one: &part {size: 4}\n  two: *part\n"))
    assert validate(Whole, source).parts["two"].size == 4


def test_an_unknown_field_names_the_nearest_and_the_allowed_ones(tmp_path):
    assert refusal(tmp_path, "name: x\nparts:\n  one:\n    sise: 2\n") == (
        f"{tmp_path}/grid.yaml:4: parts.one.sise: unknown field 'sise'. Did you mean 'size'? Allowed: size."
    )
    assert refusal(tmp_path, "name: x\npart: {}\n") == (
        f"{tmp_path}/grid.yaml:2: part: unknown field 'part'. Did you mean 'parts'? Allowed: name, parts, spare."
    )
    assert "spare.weight: unknown field 'weight'. Allowed: size." in refusal(tmp_path, "name: x\nspare: {weight: 1}\n")


def test_every_wrong_field_has_its_own_line_in_the_message(tmp_path):
    message = refusal(tmp_path, "name: [x]\nparts:\n  one:\n    size: big\n")
    first, second = message.splitlines()
    assert first.startswith(f"{tmp_path}/grid.yaml:1: name: Input should be a valid string")
    assert second.startswith(f"{tmp_path}/grid.yaml:4: parts.one.size: Input should be a valid integer")
    assert "(got 'big')" in second
