import jinja2
import pytest

from mmsoc_ray.models import CheckpointError
from mmsoc_ray.models.demo_llava import CHAT_TEMPLATE, PICTURE_TOKENS, PROJECTOR_FILE, save_demo_llava


def _render(content, *, add_generation_prompt=True):
    messages = [{"role": "user", "content": content}]
    template = jinja2.Environment(autoescape=False).from_string(CHAT_TEMPLATE)
    return template.render(messages=messages, add_generation_prompt=add_generation_prompt)


def test_plain_text_is_one_turn():
    assert _render("Hi") == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_the_picture_comes_first_wherever_it_stands():
    text, image = {"type": "text", "text": "What is it?"}, {"type": "image"}
    expected = "<|im_start|>user\n<image>\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
    assert _render([text, image]) == expected
    assert _render([image, text]) == expected


def test_parts_without_a_picture_equal_plain_text():
    assert _render([{"type": "text", "text": "Hi"}]) == _render("Hi")


def test_the_answer_is_asked_for_only_on_demand():
    assert _render("Hi", add_generation_prompt=False) == "<|im_start|>user\nHi<|im_end|>\n"


def test_a_picture_takes_few_tokens():
    assert PICTURE_TOKENS == 65


def test_committed_projector_is_small_and_has_a_card():
    assert PROJECTOR_FILE.stat().st_size <= 3 * 2**20
    assert PROJECTOR_FILE.with_suffix(".md").is_file()


def test_a_missing_projector_is_named_with_the_remedy(tmp_path):
    with pytest.raises(CheckpointError, match=r"none.safetensors is missing.*jobs/train_projector.py"):
        save_demo_llava(tmp_path, language_folder=tmp_path, projector=tmp_path / "none.safetensors")
