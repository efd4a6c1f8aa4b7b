from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsoc_ray.engines import PreparedPost, Request
from mmsoc_ray.engines.transformers import TransformersEngine
from mmsoc_ray.models.entry import ModelEntry

ENTRY = ModelEntry("tiny", "tiny", 0, "transformers", dtype="float32", sees_pictures=True)


@pytest.mark.parametrize("architecture", ["llava", "idefics3"])
def test_a_picture_is_processed_once_for_all_requests_of_its_post(
    architecture: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(request.getfixturevalue(f"{architecture}_checkpoint"), ENTRY, threads=1, device="cpu")
    processed: list[int] = []
    processor = engine._reader._pictures._processor
    preprocess = processor.preprocess

    def counted(*args: Any, **kwargs: Any) -> Any:
        processed.append(1)
        return preprocess(*args, **kwargs)

    monkeypatch.setattr(processor, "preprocess", counted)
    asked = tuple(Request("zero_shot", task, f"is it {task}?", True, 3) for task in ("humor", "sarcasm", "ocr"))
    # Two posts with one array of pixels, and one whose pixels differ.
    pixels = np.random.default_rng(1).integers(0, 256, (40, 52, 3), dtype=np.uint8)
    posts = [PreparedPost(str(at), image, None, asked) for at, image in enumerate((pixels, pixels, 255 - pixels))]
    answers = {(a.post_index, a.request_index): a.output for a in engine.answer(posts)}
    assert len(processed) == 3
    assert [answers[0, at] for at in range(3)] == [answers[1, at] for at in range(3)]
    assert [answers[0, at] for at in range(3)] != [answers[2, at] for at in range(3)]


def test_a_picture_that_the_reader_has_not_drawn_is_processed_each_time(llava_checkpoint: Path) -> None:
    engine = TransformersEngine(llava_checkpoint, ENTRY, threads=1, device="cpu")
    processor = engine._loaded.processor.image_processor
    made = []
    for shade in (0, 255):
        pixels = np.full((28, 28, 3), shade, np.uint8)
        made.append(processor([pixels], return_tensors="pt")["pixel_values"].mean().item())
    assert made[0] < made[1]
