import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmsoc_ray.models import get_model, model_names
from mmsoc_ray.models.entry import Decoding

NO_HEAVY_IMPORTS = """
import sys
from mmsoc_ray.cli import main
try:
    main(["models"])
finally:
    print({"torch", "ray", "transformers"} & set(sys.modules), file=sys.stderr)
"""


def printed(mmsoc, capsys, *arguments: object, status: int = 0) -> str:
    assert mmsoc("models", *arguments) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


def test_every_model_is_listed_once_with_size_engine_and_checkpoint(mmsoc, capsys):
    listed = printed(mmsoc, capsys)
    for name in model_names():
        assert len(re.findall(rf"^  {re.escape(name)} ", listed, re.MULTILINE)) == 1
    assert re.search(r"llava-1.5-7b +7.063 B +14.1 GB +vllm +llava-hf/llava-1.5-7b-hf", listed)
    assert "blip2: zero_shot, text_only, image_only, with_ocr\n  blip2-opt-2.7b" in listed


def test_listing_imports_no_heavy_library():
    ended = subprocess.run(
        [sys.executable, "-c", NO_HEAVY_IMPORTS],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert ended.stderr.strip() == "set()"


def test_a_description_names_frame_decoding_needs_and_source(mmsoc, capsys):
    text = printed(mmsoc, capsys, "blip2-opt-2.7b")
    assert "Salesforce/blip2-opt-2.7b, revision not pinned here: resolved at the first fetch and recorded" in text
    assert "beam search over 5 beams, repetition_penalty 1.5, min_length 1, at most 128 tokens" in text
    assert "7.5 GB in bfloat16, 15.0 GB in float32 (computed from the parameters)" in text
    assert "1 GPU of 80 GB" in text
    assert "claws-lab/MMSoc@ac09d6c" in text
    assert text.endswith("  Question: Is this meme humorous? Answer 'humorous' or 'not_humorous'. Answer:\n")


def test_a_description_says_how_answers_are_sampled(mmsoc, capsys, monkeypatch):
    sampled = Decoding(temperature=0.7, top_p=0.9, seed=3, max_new_tokens=9)
    monkeypatch.setattr(
        "mmsoc_ray.commands.models.get_model", lambda name: dataclasses.replace(get_model(name), decoding=sampled)
    )
    text = printed(mmsoc, capsys, "smollm2-135m")
    assert "decoding     sampled, temperature 0.7, top_p 0.9, seed 3, at most 9 tokens\n" in text


def test_a_model_that_no_engine_loads_says_so(mmsoc, capsys):
    assert "no engine loads it in process" in printed(mmsoc, capsys, "mplug-owl2-7b")


def test_a_checkpoint_shows_its_own_chat_template(mmsoc, capsys, toy):
    text = printed(mmsoc, capsys, "llava-1.5-7b", "--checkpoint", toy.checkpoint)
    assert "  <|im_start|>user\n  <image>\n  Is this meme humorous?" in text


def test_a_checkpoint_that_is_not_there_is_refused(mmsoc, capsys, tmp_path):
    text = printed(mmsoc, capsys, "llava-1.5-7b", "--checkpoint", tmp_path, status=2)
    assert f"checkpoint '{tmp_path}': no config.json there" in text


@pytest.mark.parametrize("name", ["demo-llava", "llava-1.6-34b", "majority"])
def test_json_holds_the_whole_entry(mmsoc, capsys, name):
    content = json.loads(printed(mmsoc, capsys, name, "--json"))
    assert content == next(entry for entry in json.loads(printed(mmsoc, capsys, "--json")) if entry["name"] == name)
    assert content["weights_gb"]["float32"] == 2 * content["weights_gb"]["bfloat16"]


def test_an_unknown_model_gets_the_nearest(mmsoc, capsys):
    assert "mmsoc models: unknown model 'llava-1.5-7'. Did you mean" in printed(mmsoc, capsys, "llava-1.5-7", status=2)
