from pathlib import Path

import pytest

from mmsoc_ray.config import Grid, Resources, load_grid, narrow
from mmsoc_ray.errors import ConfigurationError

GRID = """\
name: toy
data: somewhere
datasets: [memes, news]
tasks:
  humor:
  sarcasm: {max_new_tokens: 8, datasets: [memes]}
models:
  majority:
  demo-llava: {settings: [zero_shot, with_ocr], resources: {actors: 2, gpus: 0.5}}
"""


def load(folder: Path, text: str) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return load_grid(file)


def refusal(folder: Path, old: str, new: str) -> str:
    """Return the message with which a grid is refused in which ``old`` has become ``new``."""
    assert old in GRID
    with pytest.raises(ConfigurationError) as caught:
        load(folder, GRID.replace(old, new, 1))
    return str(caught.value).removeprefix(f"{folder}/grid.yaml")


def test_a_grid_reads_as_it_is_written(tmp_path):
    grid = load(tmp_path, GRID)
    assert list(grid.datasets) == ["memes", "news"]
    assert grid.tasks["humor"].prompt == "official"
    assert grid.tasks["sarcasm"].max_new_tokens == 8
    assert grid.models["demo-llava"].resources == Resources(actors=2, gpus=0.5)
    assert grid.defaults.resources == Resources(actors=1, cpus=1, gpus=0)
    assert (grid.defaults.split, grid.defaults.fit_split, grid.seed) == ("test", "train", 0)


def test_the_grids_of_the_repository_are_valid():
    grids = sorted((Path(__file__).parents[2] / "grids").glob("*.yaml"))
    assert {"demo.yaml", "sarcasm_tweets.yaml"} <= {file.name for file in grids}
    for file in grids:
        load_grid(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  humor:",
            "  humour:",
            ":5: tasks.humour: unknown task 'humour'. Did you mean 'humor'? Allowed: hate_speech, ",
        ),
        ("  majority:", "  majoritty:", ":8: models.majoritty: unknown model 'majoritty'. Did you mean 'majority'? "),
        (
            "with_ocr",
            "with_orc",
            ":9: models.demo-llava.settings: unknown setting 'with_orc'. Did you mean 'with_ocr'?",
        ),
        (
            "[memes]",
            "[meme]",
            ":6: tasks.sarcasm.datasets: unknown dataset 'meme'. Did you mean 'memes'? Allowed: memes,",
        ),
        ("actors:", "actor:", ":9: models.demo-llava.resources.actor: unknown field 'actor'. Did you mean 'actors'? "),
        ("max_new_tokens:", "max_tokens:", ":6: tasks.sarcasm.max_tokens: unknown field 'max_tokens'. Did you mean "),
        (
            "name: toy",
            "nmae: toy",
            ":1: nmae: unknown field 'nmae'. Did you mean 'name'? Allowed: bertscore, data, datasets, ",
        ),
    ],
    ids=["task", "model", "setting", "dataset", "field of resources", "field of a task", "field of the grid"],
)
def test_a_misspelt_name_is_refused_with_line_field_value_and_the_nearest(tmp_path, old, new, message):
    assert message in refusal(tmp_path, old, new)


def test_a_model_of_ones_own_is_said_to_need_its_checkpoint(tmp_path):
    assert "models.my-model.checkpoint" in refusal(tmp_path, "  majority:", "  my-model:")


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("actors: 2", "actors: two", ":9: models.demo-llava.resources.actors: Input should be a valid integer"),
        (
            "actors: 2",
            "actors: 0",
            ":9: models.demo-llava.resources.actors: Input should be greater than or equal to 1",
        ),
        ("gpus: 0.5", "gpus: -1", ":9: models.demo-llava.resources.gpus: Input should be greater than or equal to 0"),
        ("max_new_tokens: 8", "max_new_tokens: 0", ":6: tasks.sarcasm.max_new_tokens: Input should be greater"),
        ("max_new_tokens: 8", "max_new_tokens: eight", "(got 'eight')"),
        ("[zero_shot, with_ocr]", "zero_shot", ":9: models.demo-llava.settings: Input should be a valid tuple"),
        ("name: toy", "name: 7", ":1: name: Input should be a valid string (got 7)"),
        ("[memes, news]", "memes", ":3: datasets: Input should be a valid dictionary (got 'memes')"),
        ("  majority:", "  majority: 3", ":8: models.majority: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_type_or_bound_is_refused_with_line_field_and_value(tmp_path, old, new, field):
    assert field in refusal(tmp_path, old, new)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("[memes, news]", "[]", ":3: datasets: Dictionary should have at least 1 item"),
        (
            "  humor:\n  sarcasm: {max_new_tokens: 8, datasets: [memes]}",
            "  {}",
            ": tasks: Dictionary should have at least",
        ),
        ("datasets: [memes]", "datasets: []", ":6: tasks.sarcasm.datasets: Tuple should have at least 1 item"),
        ("[zero_shot, with_ocr]", "[]", ":9: models.demo-llava.settings: Tuple should have at least 1 item"),
        ("settings: [zero_shot, with_ocr]", "tasks: []", ":9: models.demo-llava.tasks: Tuple should have at least 1"),
        (
            "name: toy",
            "name: toy\ndefaults: {settings: []}",
            ":2: defaults.settings: Tuple should have at least 1 item",
        ),
    ],
)
def test_an_empty_list_is_refused(tmp_path, old, new, field):
    assert field in refusal(tmp_path, old, new)


@pytest.mark.parametrize("missing", ["name: toy\n", "data: somewhere\n", "datasets: [memes, news]\n"])
def test_a_missing_field_is_named(tmp_path, missing):
    assert f": {missing.partition(':')[0]}: Field required" in refusal(tmp_path, missing, "")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text\n"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match="a grid is a mapping with name, data, datasets, tasks and models"):
        load(tmp_path, text)


@pytest.mark.parametrize("name", ["../x", "..", ".hidden", "a/b", "a b", "a\\nb", "é", "x" * 81, ""])
def test_a_name_that_could_leave_its_folder_is_refused(tmp_path, name):
    assert "datasets" in refusal(tmp_path, "[memes, news]", f'{{memes: , news: , "{name}": }}')
    assert ": name: String should match pattern" in refusal(tmp_path, "name: toy", f'name: "{name}"')
    checkpoint = f'  "{name}": {{checkpoint: /somewhere}}'
    assert "models" in refusal(tmp_path, "  majority:", checkpoint)
    split = f'{{memes: {{split: "{name}"}}, news: }}'
    assert ": datasets.memes.split: String should match" in refusal(tmp_path, "[memes, news]", split)


def test_a_list_that_names_one_twice_is_refused(tmp_path):
    assert ":3: datasets: memes stands twice in the list" in refusal(tmp_path, "[memes, news]", "[memes, memes, news]")


def test_a_list_that_holds_mappings_is_refused_with_the_remedy(tmp_path):
    message = refusal(tmp_path, "[memes, news]", "[memes, {news: {split: test}}]")
    assert ":3: datasets: a list holds plain names; write a mapping (no hyphens)" in message


def test_a_setting_that_the_model_cannot_answer_is_refused(tmp_path):
    assert (
        ":8: models.majority.settings: majority cannot answer in the setting 'with_ocr'. Allowed: zero_shot."
        in refusal(tmp_path, "  majority:", "  majority: {settings: [with_ocr]}")
    )


def test_an_unknown_variant_of_a_prompt_is_refused(tmp_path):
    message = refusal(tmp_path, "max_new_tokens: 8", "prompt: tweets")
    assert ":6: tasks.sarcasm.prompt: unknown variant of the prompt 'tweets'. Did you mean 'tweet'?" in message


def test_scoring_a_task_without_labels_is_refused(tmp_path):
    message = refusal(tmp_path, "  humor:", "  ocr: {scored: true}")
    assert ":5: tasks.ocr.scored: ocr has no labels whose probability could be told. Remove it; with: " in message
    assert load(tmp_path, GRID.replace("  humor:", "  humor: {scored: true}")).tasks["humor"].scored


def test_an_encoder_needs_a_layer(tmp_path):
    assert "bertscore.layer: Field required" in refusal(tmp_path, "name: toy", "name: toy\nbertscore: {encoder: x}")


def test_a_models_task_outside_the_grid_is_refused(tmp_path):
    message = refusal(tmp_path, "  majority:", "  majority: {tasks: [tagging]}")
    assert ":8: models.majority.tasks: unknown task of this grid 'tagging'. Allowed: humor, sarcasm." in message


def test_all_problems_are_told_at_once(tmp_path):
    message = refusal(tmp_path, "  majority:", "  majoritty: {tasks: [humor]}\n  random: {tasks: [ocr]}")
    assert [line.split(": ")[1] for line in message.splitlines()] == ["models.majoritty", "models.random.tasks"]


def test_narrowing_keeps_the_named_models_and_tasks(tmp_path):
    grid = narrow(load(tmp_path, GRID), models=("demo-llava",), tasks=("sarcasm",))
    assert list(grid.models) == ["demo-llava"]
    assert list(grid.tasks) == ["sarcasm"]
    assert list(grid.datasets) == ["memes", "news"]


def test_narrowing_to_nothing_named_keeps_all(tmp_path):
    grid = load(tmp_path, GRID)
    assert narrow(grid) == grid


def test_a_model_without_a_task_left_drops_out(tmp_path):
    grid = load(tmp_path, GRID.replace("  majority:", "  majority: {tasks: [humor]}"))
    assert list(narrow(grid, tasks=("sarcasm",)).models) == ["demo-llava"]
    assert narrow(grid, tasks=("humor",)).models["majority"].tasks == ("humor",)


def test_narrowing_that_leaves_nothing_is_refused(tmp_path):
    grid = load(tmp_path, GRID.replace("  majority:", "  majority: {tasks: [humor]}"))
    with pytest.raises(ConfigurationError, match="leave nothing of the grid"):
        narrow(grid, models=("majority",), tasks=("sarcasm",))


@pytest.mark.parametrize("option", ["models", "tasks"])
def test_narrowing_to_an_unknown_name_is_refused_by_option(tmp_path, option):
    with pytest.raises(ConfigurationError, match=f"--{option}: unknown {option[:-1]} 'humr'"):
        narrow(load(tmp_path, GRID), **{option: ("humr",)})


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ("num_beams: 0", "decoding.num_beams: Input should be greater than or equal to 1 (got 0)"),
        ("repetition_penalty: 0", "decoding.repetition_penalty: Input should be greater than 0 (got 0)"),
        ("beams: 5", "decoding.beams: unknown field 'beams'. Did you mean 'num_beams'?"),
        ("max_new_tokens: 5000", "decoding.max_new_tokens: Input should be less than or equal to 4096 (got 5000)"),
        ("temperature: -1", "decoding.temperature: Input should be greater than or equal to 0 (got -1)"),
        ("temperature: 2.5", "decoding.temperature: Input should be less than or equal to 2 (got 2.5)"),
        ("temperature: .nan", "decoding.temperature: Input should be a finite number (got nan)"),
        ("temperature: 1, top_p: 0", "decoding.top_p: Input should be greater than 0 (got 0)"),
        ("temperature: 1, top_p: 1.1", "decoding.top_p: Input should be less than or equal to 1 (got 1.1)"),
        ("temperature: 1, top_k: -1", "decoding.top_k: Input should be greater than or equal to 0 (got -1)"),
        ("temperature: 1, seed: a", "decoding.seed: Input should be a valid integer, unable to parse string"),
        (
            "temperature: 0.7, num_beams: 4",
            "decoding: temperature 0.7 samples and num_beams 4 searches. Set num_beams: 1 to sample, or temperature: 0",
        ),
        ("seed: 3", "decoding: seed 3 does nothing at temperature 0, which is greedy. Set a temperature above 0, or"),
    ],
)
def test_a_decoding_that_cannot_be_is_refused(tmp_path, decoding, message):
    refused = refusal(tmp_path, "resources: {actors: 2, gpus: 0.5}", f"decoding: {{{decoding}}}")
    assert f":9: models.demo-llava.{message}" in refused


def test_a_temperature_for_a_model_that_is_registered_with_beams_is_refused(tmp_path):
    refused = refusal(tmp_path, "  majority:", "  blip2-opt-2.7b: {decoding: {temperature: 0.7}}")
    assert refused.startswith(":8: models.blip2-opt-2.7b.decoding: temperature 0.7 samples and num_beams 5 searches.")
    sampling = "  blip2-opt-2.7b: {decoding: {temperature: 0.7, num_beams: 1}}"
    assert load(tmp_path, GRID.replace("  majority:", sampling)).models["blip2-opt-2.7b"].decoding


def test_an_endpoint_of_a_model_that_runs_in_process_is_refused(tmp_path):
    refused = refusal(tmp_path, "resources: {actors: 2, gpus: 0.5}", "endpoint: {url: 'http://h/v1'}")
    assert ":9: models.demo-llava.endpoint: demo-llava answers with the engine transformers." in refused


@pytest.mark.parametrize("url", ["ftp://h", "h:80/v1", "http://h/v1?key=1", ""])
def test_an_address_that_is_none_is_refused(tmp_path, url):
    assert "endpoint.url: String should match" in refusal(
        tmp_path, "  majority:", f"  m: {{endpoint: {{url: '{url}'}}}}"
    )


def test_a_baseline_has_no_decoding(tmp_path):
    refused = refusal(tmp_path, "  majority:", "  majority: {decoding: {temperature: 1}}")
    assert refused.startswith(":8: models.majority.decoding: majority is a baseline, which decodes nothing.")
