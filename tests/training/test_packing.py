import pytest
import torch

from mmsoc_ray.training.packing import IGNORED, Packer, visible
from mmsoc_ray.training.projector_data import Turn

TOKENS = 5
TURNS = (Turn("What is in the picture?", "A red cat."), Turn("What is in the background?", "Green hills, blue dog."))


@pytest.fixture
def packer(tokenizer):
    return Packer(tokenizer, TOKENS)


def test_only_answers_are_scored(packer, tokenizer):
    packed = packer.pack(TURNS)
    scored = packed.labels != IGNORED
    assert torch.equal(packed.labels[scored], packed.input_ids[scored])
    assert tokenizer.decode(packed.input_ids[scored]) == "A red cat.<|im_end|>Green hills, blue dog.<|im_end|>"


def test_a_packed_turn_is_the_prompt_of_its_own(packer, tokenizer):
    packed = packer.pack(TURNS)
    for number, turn in enumerate(TURNS, start=1):
        alone = (packed.segments == 0) | (packed.segments == number)
        expected = packer.prompt_ids(turn.question) + tokenizer(turn.answer + "<|im_end|>").input_ids
        assert packed.input_ids[alone].tolist() == expected
        assert packed.position_ids[alone].tolist() == list(range(len(expected)))


def test_the_picture_stands_once(packer):
    assert (packer.pack(TURNS).input_ids == packer.image_token_id).sum() == TOKENS


def test_a_turn_sees_the_picture_and_itself_and_no_other_turn():
    seen = visible(torch.tensor([[0, 0, 1, 1, 2, 2, -1]]))[0]
    assert seen[3].tolist() == [True, True, True, True, False, False, False]
    assert seen[5].tolist() == [True, True, False, False, True, True, False]
    assert seen[6].tolist() == [True, True, False, False, False, False, True]


def test_padding_is_neither_scored_nor_seen(packer):
    batch = packer.collate([packer.pack(TURNS), packer.pack(TURNS[:1])])
    length = len(packer.pack(TURNS[:1]).input_ids)
    assert (batch.labels[1, length:] == IGNORED).all()
    assert not batch.attention_mask[1, 0, :length, length:].any()
