"""What the frozen encoder sees of the training pictures, computed once and kept.

The encoder never changes while the projector learns, so that running it in every step would be most of the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmsoc_ray.models.cache import cache_folder, cached_folder
from mmsoc_ray.models.demo_llava import FEATURE_LAYER, PICTURE_PIXELS, encode_pictures, picture_processor
from mmsoc_ray.models.packaged import DINOV2_ONNX
from mmsoc_ray.training.projector_data import Example

_BATCH = 32
_PROBES = 4


def encode(vision: Any, pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Return the features of pictures, float16, (pictures, patches + 1, hidden); preprocessed as the model does."""
    arrays = [np.asarray(picture.convert("RGB")) for picture in pictures]
    pixels = picture_processor()(images=arrays, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        return encode_pictures(vision, pixels).to(torch.float16)


def cached_features(examples: Sequence[Example], vision: Any) -> torch.Tensor:
    """Return the features of all examples, from the cache folder where they have been computed before.

    The cache's key covers the examples, how the first of them are drawn, the encoder and its input size.

    Args:
        examples: Pictures, not drawn yet.
        vision: The encoder.

    Returns:
        float16, (examples, patches + 1, hidden).
    """

    def make(folder: Path) -> None:
        batches = (examples[start : start + _BATCH] for start in range(0, len(examples), _BATCH))
        features = torch.cat(list(_encode_batches(batches, vision)))
        save_file({"features": features}, folder / "features.safetensors")

    folder = cached_folder(cache_folder() / "features" / features_key(examples), make)
    return load_file(folder / "features.safetensors")["features"]


def features_key(examples: Sequence[Example]) -> str:
    """Return what the features depend on, as a folder name."""
    digest = hashlib.sha256(f"{DINOV2_ONNX.sha256} {PICTURE_PIXELS} {FEATURE_LAYER}\n".encode())
    for example in examples:
        digest.update(repr(example).encode())
    for example in examples[:_PROBES]:
        digest.update(example.draw().tobytes())
    return digest.hexdigest()[:24]


def _encode_batches(batches: Iterator[Sequence[Example]], vision: Any) -> Iterator[torch.Tensor]:
    for batch in batches:
        yield encode(vision, [example.draw() for example in batch])
