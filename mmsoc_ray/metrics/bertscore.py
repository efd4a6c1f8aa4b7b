"""BERTScore of free text, by ``bert-score``, with an encoder that the user names and pins.

Needs the extra ``bertscore``, and a folder with an encoder's safetensors and tokenizer; nothing is fetched from a hub.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.metrics.confusion import Floats
from mmsoc_ray.metrics.transcription import MAX_SCORED_CHARACTERS

MAX_ENCODED_TOKENS = 512
"""Longer texts are cut where the encoder's tokenizer names no bound of its own."""


@dataclass(frozen=True)
class Encoder:
    """What BERTScore compares texts with.

    Attributes:
        folder: Folder that ``save_pretrained`` wrote: ``config.json``, safetensors, tokenizer.
        layer: Hidden layer whose embeddings are compared, counted from 1 (bert-score tunes it per encoder: 17 for
            ``roberta-large``).
    """

    folder: str
    layer: int

    def check(self) -> None:
        """Check what can be checked without loading the encoder.

        Raises:
            ConfigurationError: The package or the encoder is not there, or it has no such layer.
        """
        if importlib.util.find_spec("bert_score") is None:
            raise ConfigurationError("bertscore: the package bert-score is missing; pip install 'mmsoc-ray[bertscore]'")
        path = Path(self.folder)
        if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
            raise ConfigurationError(
                f"bertscore.encoder: {self.folder!r} holds no config.json with *.safetensors; name the folder of an "
                "encoder that save_pretrained has written"
            )
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        layers = config.get("num_hidden_layers") or config.get("n_layers") or config.get("num_layers")
        if isinstance(layers, int) and not 1 <= self.layer <= layers:
            raise ConfigurationError(f"bertscore.layer: {self.layer}; this encoder has the layers 1 to {layers}")
        if ("t5" in self.folder) != ("t5" in str(config.get("model_type"))):
            # bert-score chooses the class of the encoder by its name, which here is the path.
            raise ConfigurationError(
                f"bertscore.encoder: bert-score takes a folder for a T5 encoder if and only if its path holds 't5'; "
                f"{self.folder!r} holds a {config.get('model_type')}: rename or link the folder"
            )


def bertscore_values(
    predictions: Sequence[str | None], references: Sequence[str | Sequence[str]], encoder: Encoder
) -> Floats:
    """Return the BERTScore F1 of each post, shape (posts,); see ``bertscore_f1``."""
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references; they must be parallel")
    texts = [(given,) if isinstance(given, str) else tuple(given) for given in references]
    # Models repeat themselves: each distinct pair is encoded once.
    known = {pair: _best(pair[0], pair[1], encoder) for pair in dict.fromkeys(zip(predictions, texts, strict=True))}
    return np.asarray([known[pair] for pair in zip(predictions, texts, strict=True)], np.float64)


def bertscore_f1(
    predictions: Sequence[str | None], references: Sequence[str | Sequence[str]], encoder: Encoder
) -> float:
    """Return the mean BERTScore F1: greedy matching of the tokens' embeddings by cosine similarity.

    As Zhang et al. 2020 (arXiv 1904.09675), without idf weights and without rescaling by a baseline. Of several
    references the best one counts. Unparsed, failed and empty answers have 0; NaN without any post. Single precision,
    one text at a time, so that no other text changes a value's last bits.

    Args:
        predictions: One text for each post, or None.
        references: One text, or several, for each post.
        encoder: What compares them.

    Raises:
        ConfigurationError: The package or the encoder is not there.
        ValueError: The sequences are not parallel.
    """
    encoder.check()
    values = bertscore_values(predictions, references, encoder)
    return float(values.mean()) if len(values) else float("nan")


def _best(prediction: str | None, references: Sequence[str], encoder: Encoder) -> float:
    truths = [text[:MAX_SCORED_CHARACTERS] for text in references if text.strip()]
    if prediction is None or not prediction.strip() or not truths:
        return 0.0
    _, _, f1 = _scorer(encoder).score([prediction[:MAX_SCORED_CHARACTERS]] * len(truths), truths, batch_size=1)
    return float(f1.max())


@lru_cache(maxsize=1)
def _scorer(encoder: Encoder) -> Any:
    from bert_score import BERTScorer

    scorer = BERTScorer(model_type=encoder.folder, num_layers=encoder.layer, device="cpu")
    tokenizer = scorer._tokenizer
    if tokenizer.model_max_length > 10**6:
        tokenizer.model_max_length = MAX_ENCODED_TOKENS
    return scorer
