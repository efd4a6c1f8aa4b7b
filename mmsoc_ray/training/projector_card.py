"""Writing a trained projector: its weights and the card that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mmsoc_ray.models.packaged import DINOV2_ONNX, SMOLLM2_GGUF
from mmsoc_ray.training.projector import ProjectorConfig, TrainedProjector

_CARD = """\
# Projector of demo-llava

Two linear layers with a GELU between them (384 → 576 → 576, {parameters:,} parameters, bfloat16) that turn what DINOv2
ViT-S/14 sees of a picture into {tokens} tokens for SmolLM2-135M-Instruct. Encoder and language model are as
their packages hold them (the latter from 4-bit weights) and were never changed. The model exists to show the program at
work on a machine without GPU and model hub; it is not good at anything, and no figure of it says anything about
multimodal models in general.

## How good it is

Mean loss of an answer's token (nats) on pictures that training never showed, with each picture, and with the same
questions and answers but another picture of the set. If the picture did not matter, both would be the same.

| held-out pictures | n | answer tokens | own picture | another's picture | own picture preferred |
| --- | --- | --- | --- | --- | --- |
| compositions never shown in training | {validation} |
| glyphs never shown in training | {unseen} |

"Own picture preferred" is the share of pictures whose answers are likelier with their own picture; chance is 50 %.
The backgrounds behind unseen glyphs are familiar ones, and a good part of that gap is theirs.
{meaning}

## Data

Drawn by this project (`mmsoc_ray/training/projector_data.py`), {train_pictures:,} pictures to learn from: scenes of two
or three glyphs like those of the demo's training split, mostly with random words as captions, and single glyphs on a
background under their Unicode names. Three questions for each picture, the first being the prompt of the task
`image_description`. What the demo's pictures show is thus familiar to this model; their test compositions are not.
Held out are compositions (background with arrangement or glyph) and glyphs.

Licences: OpenMoji glyphs CC BY-SA 4.0; DINOv2 Apache-2.0 (`{vision}`); SmolLM2 Apache-2.0 (`{language}`). These
weights: Apache-2.0, as far as they are the project's own.

## Training

{align_steps:,} steps of alignment to word embeddings ({align_batch} pictures each), {language_steps:,} steps through
the frozen language model ({language_batch} pictures with 3 answers each), AdamW, seed {seed}, on Ray Train,
CPU, float32.

    {command}

```json
{settings}
```
"""


def write_projector(
    trained: TrainedProjector, config: ProjectorConfig, file: Path, *, command: str, tokens: int = 65
) -> None:
    """Write weights (safetensors, bfloat16) and, under the same name, the card (Markdown).

    Args:
        trained: What training left.
        config: How it was trained.
        file: Where the weights go.
        command: What was typed to train them.
        tokens: Tokens that a picture takes.
    """
    weights = {name: weight.to(torch.bfloat16).contiguous() for name, weight in trained.weights.items()}
    record = {"config": asdict(config), "metrics": trained.metrics}
    save_file(weights, file, metadata={"trained": "true", "record": json.dumps(record, sort_keys=True)})
    card = _CARD.format(
        parameters=sum(weight.numel() for weight in weights.values()),
        tokens=tokens,
        validation=_row(trained.metrics["validation"]),
        unseen=_row(trained.metrics["unseen_glyphs"]),
        meaning=_meaning(trained.metrics["validation"]),
        vision=DINOV2_ONNX.distribution,
        language=SMOLLM2_GGUF.distribution,
        command=command,
        settings=json.dumps(asdict(config), indent=2),
        **{
            name: getattr(config, name)
            for name in ("train_pictures", "align_steps", "align_batch", "language_steps", "language_batch", "seed")
        },
    )
    file.with_suffix(".md").write_text(card, encoding="utf-8")


def _row(held_out: Mapping[str, Any]) -> str:
    return (
        f"{held_out['pictures']} | {held_out['tokens']:,} | {held_out['loss']:.3f} | {held_out['loss_shuffled']:.3f} | "
        f"{held_out['own_preferred']:.0%}"
    )


def _meaning(held_out: Mapping[str, Any]) -> str:
    gap = held_out["loss_shuffled"] - held_out["loss"]
    if gap < 0.1:
        return "The gap is small: the projector learnt the style of the answers and hardly the pictures."
    return f"The gap of {gap:.2f} nats a token is what the model takes from the picture."
