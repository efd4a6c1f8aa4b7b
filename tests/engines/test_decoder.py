from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mmsoc_ray.engines import PreparedPost, Request
from mmsoc_ray.engines.decoder import Decoder, Prompts, select_rows
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models.entry import Decoding, ModelEntry

TEXT = ModelEntry("tiny-text", "tiny", 0, "transformers", dtype="float32")
ENDS = frozenset({2})
SEEDS = (5, 6, 7)


@pytest.fixture(scope="module")
def model(text_checkpoint: Path) -> Any:
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(text_checkpoint, dtype=torch.float32).eval()
    loaded.generation_config = transformers.GenerationConfig()  # its own penalises repetitions
    return loaded


def prompts() -> dict[str, torch.Tensor]:
    """Three prompts of 9, 5 and 7 tokens, padded on the left."""
    ids = torch.randint(3, 200, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :4] = mask[2, :2] = 0
    return {"input_ids": ids * mask, "attention_mask": mask}


def generated(model: Any, row: int, limit: int) -> list[int]:
    """What the library says to one of the prompts alone."""
    kept = prompts()["attention_mask"][row].bool()
    ids = prompts()["input_ids"][row, kept][None]
    options = {"do_sample": False, "max_new_tokens": limit, "eos_token_id": sorted(ENDS), "pad_token_id": 0}
    tokens: list[int] = model.generate(ids, **options)[0, ids.shape[1] :].tolist()
    return tokens


@torch.inference_mode()
def test_rows_of_different_limits_say_what_the_library_says_to_each_alone(model: Any) -> None:
    decoder = Decoder(model, ENDS, Decoding())
    limits = [3, 12, 7]
    said = decoder.answer(decoder.compute(prompts(), {}), limits, SEEDS)
    assert said == [generated(model, row, limit) for row, limit in enumerate(limits)]


@torch.inference_mode()
def test_a_row_leaves_when_its_answer_has_ended(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, forward = [], model.forward
    monkeypatch.setattr(model, "forward", lambda **inputs: rows.append(len(inputs["input_ids"])) or forward(**inputs))
    free = Decoder(model, frozenset(), Decoding())
    free.answer(free.compute(prompts(), {}), [1, 5, 3], SEEDS)
    assert rows == [3, 2, 2, 1, 1]


@torch.inference_mode()
def test_an_answer_ends_with_its_end_token(model: Any) -> None:
    free = Decoder(model, frozenset(), Decoding())
    whole = free.answer(free.compute(prompts(), {}), [6, 6, 6], SEEDS)
    end = next(token for token in whole[0] if token != whole[0][0])
    cut = Decoder(model, frozenset({end}), Decoding())
    said = cut.answer(cut.compute(prompts(), {}), [6, 6, 6], SEEDS)
    assert said[0] == whole[0][: whole[0].index(end) + 1]
    assert all(one == other[: len(one)] for one, other in zip(said, whole, strict=True))


@torch.inference_mode()
def test_a_cache_that_rows_were_selected_from_stays_as_it_is(model: Any) -> None:
    decoder = Decoder(model, ENDS, Decoding())
    computed = decoder.compute(prompts(), {})
    cache = computed.inputs["past_key_values"]
    before = [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]
    rows = [2, 0, 0]
    inputs = {
        "attention_mask": computed.inputs["attention_mask"][rows],
        "past_key_values": select_rows(cache, rows, 5),
    }
    said = decoder.answer(Prompts(inputs, computed.logits[rows]), [5, 5, 5], SEEDS)
    assert said == [generated(model, row, 5) for row in rows]
    for layer, (keys, values) in zip(cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


def test_tasks_of_different_limits_share_a_batch(text_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TransformersEngine(text_checkpoint, dataclasses.replace(TEXT, batch_tokens=10**6), threads=1, device="cpu")
    batches, answer = [], engine._decoder.answer
    monkeypatch.setattr(
        engine._decoder,
        "answer",
        lambda prompts, limits, _: batches.append(sorted(limits)) or answer(prompts, limits, _),
    )
    requests = tuple(Request("text_only", str(limit), f"question {limit}", False, limit) for limit in (2, 4, 9))
    list(engine.answer([PreparedPost("p", None, None, requests)]))
    assert batches == [[2, 4, 9]]
