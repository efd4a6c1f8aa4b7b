"""A small multimodal model put together from parts that exist: DINOv2 sees, SmolLM2 speaks, a projector joins them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsoc_ray.models.dinov2 import PATCH_SIZE, load_dinov2
from mmsoc_ray.models.packaged import CheckpointError
from mmsoc_ray.models.quiet import without_progress_bars

if TYPE_CHECKING:
    import torch

PICTURE_PIXELS = 112
"""Side to which a picture is squeezed; small, since each of its patches costs the language model a token."""

PICTURE_TOKENS = (PICTURE_PIXELS // PATCH_SIZE) ** 2 + 1
"""8 x 8 patches and the class token."""

IMAGE_TOKEN = "<image>"  # noqa: S105  (a placeholder in the prompt)
REPLACED_TOKEN = "<reponame>"  # noqa: S105
"""A token of code repositories that takes the placeholder's place, so that the vocabulary keeps its size."""

FEATURE_LAYER = -1
"""Encoder layer whose output is projected, before the encoder's last norm."""

PROJECTOR_FILE = Path(__file__).with_name("demo_projector.safetensors")
"""Weights of the trained projector; ``demo_projector.md`` beside it is its card."""

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""ImageNet statistics, as DINOv2 was trained with."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] if part['type'] == 'image' -%}
{{- '<image>\\n' -}}
{%- endfor -%}
{%- for part in message['content'] if part['type'] == 'text' -%}
{{- part['text'] -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
"""SmolLM2's turns without its system message; content may be a string or a list of parts, pictures come first."""


def save_demo_llava(folder: Path, *, language_folder: Path, projector: Path = PROJECTOR_FILE) -> None:
    """Assemble the model with trained projector weights and save it, bfloat16, ready for the Auto classes.

    Args:
        folder: Where to save it.
        language_folder: SmolLM2 as ``save_smollm2`` wrote it.
        projector: Weights of the projector.

    Raises:
        CheckpointError: When a package or the projector's file is missing.
    """
    import torch
    from safetensors.torch import load_file

    if not projector.is_file():
        raise CheckpointError(
            f"{projector} is missing; restore it from the repository or train it: python jobs/train_projector.py"
        )
    model, tokenizer = load_parts(language_folder)
    model.model.multi_modal_projector.load_state_dict(load_file(projector))
    with without_progress_bars():
        model.to(torch.bfloat16).save_pretrained(folder)
    save_processor(folder, tokenizer)


def load_parts(language_folder: Path) -> tuple[Any, Any]:
    """Return the assembled ``LlavaForConditionalGeneration``, float32, projector random, and SmolLM2's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with without_progress_bars():
        language: Any = AutoModelForCausalLM.from_pretrained(language_folder, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(language_folder)
    image_token_id = tokenizer.convert_tokens_to_ids(REPLACED_TOKEN)
    return assemble(load_dinov2(), language, image_token_id=image_token_id), tokenizer


def assemble(vision: Any, language: Any, *, image_token_id: int) -> Any:
    """Join an encoder and a language model by a projector with random weights.

    Args:
        vision: The encoder, a ``Dinov2Model``; its weights are copied.
        language: A causal language model; its weights are copied.
        image_token_id: Id of the placeholder in the language model's vocabulary.
    """
    from transformers import LlavaForConditionalGeneration

    model: Any = LlavaForConditionalGeneration(llava_config(vision, language, image_token_id=image_token_id))
    model.model.vision_tower.load_state_dict(vision.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    model.generation_config.eos_token_id = language.generation_config.eos_token_id
    model.generation_config.pad_token_id = language.generation_config.pad_token_id
    return model.eval()


def llava_config(vision: Any, language: Any, *, image_token_id: int) -> Any:
    """Return the ``LlavaConfig`` of the joined model."""
    from transformers import LlavaConfig

    side = PICTURE_PIXELS // vision.config.patch_size
    parts = [part.config.to_dict() for part in (vision, language)]
    for part in parts:
        part.pop("_name_or_path", None)  # the folder it came from, which would enter the checkpoint's digest
    return LlavaConfig(
        vision_config=parts[0],
        text_config=parts[1],
        image_token_index=image_token_id,
        image_seq_length=side * side + 1,
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )


def save_processor(folder: Path, tokenizer: Any, *, patch_size: int = PATCH_SIZE) -> None:
    """Save the processor: pictures squeezed to a square by Pillow, the placeholder token, the chat template."""
    from transformers import LlavaProcessor, PreTrainedTokenizerFast

    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    _rename_token(folder / "tokenizer.json", REPLACED_TOKEN, IMAGE_TOKEN)
    processor: Any = LlavaProcessor
    processor(
        image_processor=picture_processor(),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder),
        patch_size=patch_size,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE_TOKEN,
    ).save_pretrained(folder)


def picture_processor() -> Any:
    """Return the picture processor: squeezed to a square by Pillow, normalised; no torchvision."""
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    square = {"height": PICTURE_PIXELS, "width": PICTURE_PIXELS}
    return LlavaImageProcessorPil(
        size=square, crop_size=square, do_center_crop=False, image_mean=list(IMAGE_MEAN), image_std=list(IMAGE_STD)
    )


def encode_pictures(vision: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """Return what the projector sees of pictures.

    Args:
        vision: The encoder.
        pixel_values: Normalised pictures, (pictures, 3, height, width).

    Returns:
        Features, (pictures, patches + 1, hidden): the class token first.
    """
    hidden: torch.Tensor = vision(pixel_values, output_hidden_states=True).hidden_states[FEATURE_LAYER]
    return hidden


def _rename_token(tokenizer_file: Path, old: str, new: str) -> None:
    content = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary[new] = vocabulary.pop(old)
    for token in content["added_tokens"]:
        if token["content"] == old:
            token["content"] = new
    tokenizer_file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
