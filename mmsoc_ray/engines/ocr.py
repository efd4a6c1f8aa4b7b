"""Reads the words in a picture, for the setting ``with_ocr``."""

from __future__ import annotations

import hashlib
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsoc_ray.engines.protocol import Picture
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.digests import json_digest

_MODEL_FILES = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}
"""The models inside the wheel of rapidocr 3.10 (Apache-2.0): where text is, which way up, what it says."""


MAX_READ_SIDE = 1600
"""Pictures are scaled down to this before their words are read (our choice: small print stays legible)."""


class PictureReader:
    """Optical character recognition by RapidOCR (PP-OCRv6 small, Latin and Chinese script), on the CPU, offline.

    Attributes:
        min_confidence: Text lines recognised with less are left out.
    """

    def __init__(self, *, min_confidence: float = 0.5, threads: int = 1) -> None:
        """Find the models; they are loaded at the first picture.

        Args:
            min_confidence: Mean probability of a line's characters, 0 to 1; 0.5 is RapidOCR's own default.
            threads: CPU threads of onnxruntime. One gives the same sums on every machine of a kind; several pictures
                are better read by several processes.

        Raises:
            ConfigurationError: The package or its models are not there.
        """
        self.min_confidence = min_confidence
        self._threads = threads
        self._models = _find_models()

    def read(self, picture: Picture) -> str:
        """Return the words in the picture in reading order, lines from top to bottom, joined by spaces.

        Args:
            picture: RGB, uint8, shape (height, width, 3).

        Raises:
            Exception: Whatever the reader makes of a broken picture; the next picture is read as if nothing was.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise ValueError(f"a picture of shape {picture.shape} cannot be read: (height, width, 3) is wanted")
        found = self._reader(np.ascontiguousarray(picture[:, :, ::-1]))  # RapidOCR takes BGR
        if found.boxes is None or found.txts is None:
            return ""
        return " ".join(found.txts[place].strip() for place in reading_order(np.asarray(found.boxes)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over versions, parameters and model files: what else than the picture decides about the words."""
        files = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in self._models.items()}
        packages = {package: version(package) for package in ("rapidocr", "onnxruntime")}
        content = [packages, {k: v for k, v in self._parameters.items() if not k.endswith("model_path")}, files]
        return json_digest(content)

    @property
    def _parameters(self) -> dict[str, Any]:
        return {
            "Global.text_score": self.min_confidence,
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": self._threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            # Words are looked for in the picture as it is: RapidOCR enlarges one whose shorter side is below 736, which
            # doubles the time and read no word of the demo's memes better.
            "Det.limit_type": "max",
            "Det.limit_side_len": MAX_READ_SIDE,
            # With a path given, RapidOCR looks for nothing on the network.
            **{f"{name}.model_path": str(path) for name, path in self._models.items()},
        }

    @cached_property
    def _reader(self) -> Any:
        from rapidocr import RapidOCR

        return RapidOCR(params=self._parameters)


def reading_order(boxes: npt.NDArray[np.floating[Any]]) -> list[int]:
    """Order text boxes as they are read: lines from top to bottom, within a line from left to right.

    A box belongs to the line above it in the list when its middle lies higher than the lower edge of the line's first
    box, less a quarter of that box's height.

    Args:
        boxes: Corners, shape (boxes, 4, 2), x before y, in pixels.

    Returns:
        Positions of the boxes in reading order.
    """
    top, bottom, left = boxes[:, :, 1].min(axis=1), boxes[:, :, 1].max(axis=1), boxes[:, :, 0].min(axis=1)
    middle = (top + bottom) / 2
    lines: list[list[int]] = []
    for box in np.argsort(middle, kind="stable").tolist():
        first = lines[-1][0] if lines else None
        if first is not None and middle[box] < bottom[first] - (bottom[first] - top[first]) / 4:
            lines[-1].append(box)
        else:
            lines.append([box])
    return [box for line in lines for box in sorted(line, key=lambda member: (left[member], member))]


def _find_models() -> dict[str, Path]:
    install = "install them with: pip install 'mmsoc-ray[ocr]'"
    try:
        spec = find_spec("rapidocr")
        version("onnxruntime")
    except PackageNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigurationError(f"the setting with_ocr needs the packages rapidocr and onnxruntime; {install}")
    folder = Path(spec.origin).parent / "models"
    models = {name: folder / file for name, file in _MODEL_FILES.items()}
    missing = sorted(str(path) for path in models.values() if not path.is_file())
    if missing:
        raise ConfigurationError(
            f"rapidocr {version('rapidocr')} lacks {', '.join(missing)}: version 3.10 has them; {install}"
        )
    return models
