import pytest
import torch
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from mmsoc_ray.training.packing import IGNORED, Packer
from mmsoc_ray.training.projector_data import Turn
from mmsoc_ray.training.projector_model import (
    StandardisingProjector,
    WordTargets,
    alignment_loss,
    answer_losses,
    feature_statistics,
    word_tokens,
)

TURNS = (Turn("What is in the picture?", "A red cat."), Turn("What is in the background?", "Green hills, blue dog."))


@pytest.fixture
def features():
    return torch.randn(2, 65, 32, generator=torch.Generator().manual_seed(1)) * 3 + 1


@pytest.fixture
def projector(features):
    torch.manual_seed(2)
    return StandardisingProjector(*feature_statistics(features), 48)


def test_folded_weights_compute_the_same_in_llavas_projector(llava, features, projector):
    published = LlavaMultiModalProjector(llava.config)
    published.load_state_dict(projector.folded())
    assert torch.allclose(published(features), projector(features), atol=1e-5)


def test_packed_turns_lose_what_they_lose_alone(llava, tokenizer, features, projector):
    packer = Packer(tokenizer, 65)
    together, count = answer_losses(llava, projector, features[:1], packer.collate([packer.pack(TURNS)]))
    alone = [answer_losses(llava, projector, features[:1], packer.collate([packer.pack([turn])])) for turn in TURNS]
    assert torch.allclose(together, sum(loss for loss, _ in alone), atol=1e-3)
    assert count == sum(count for _, count in alone)


def test_the_loss_is_that_of_the_whole_model(llava, tokenizer, features, projector):
    packer = Packer(tokenizer, 65)
    batch = packer.collate([packer.pack(TURNS[:1])])
    embeddings = llava.get_input_embeddings()(batch.input_ids).clone()
    embeddings[0, batch.input_ids[0] == packer.image_token_id] = projector(features[:1])[0]
    logits = llava(inputs_embeds=embeddings).logits[0, :-1]
    expected = torch.nn.functional.cross_entropy(logits, batch.labels[0, 1:], ignore_index=IGNORED, reduction="sum")
    found, _ = answer_losses(llava, projector, features[:1], batch)
    assert torch.allclose(found[0], expected, atol=1e-3)


def test_a_neighbour_in_the_batch_changes_nothing(llava, tokenizer, features, projector):
    packer = Packer(tokenizer, 65)
    both, _ = answer_losses(llava, projector, features, packer.collate([packer.pack(TURNS), packer.pack(TURNS[:1])]))
    alone, _ = answer_losses(llava, projector, features[1:], packer.collate([packer.pack(TURNS[:1])]))
    assert torch.allclose(both[1], alone[0], atol=1e-3)


def test_little_words_are_no_targets(tokenizer):
    assert word_tokens(tokenizer, ["a cat in the picture"]) == word_tokens(tokenizer, ["cat, picture"])


def test_tokens_at_their_words_have_the_lowest_alignment_loss():
    embeddings = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    sets = [(1, 2), (3, 4)]
    targets = WordTargets.collect([(1, 2, 3, 4, 5, 6)], embeddings)
    right = torch.stack([embeddings[list(tokens)] for tokens in sets])
    assert alignment_loss(right, sets, targets) < alignment_loss(right.flip(0), sets, targets) - 1.0
