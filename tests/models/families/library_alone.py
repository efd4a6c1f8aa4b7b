"""A checkpoint as the library alone runs it, one prompt at a time, pixels and all: what answers are held to.

Where the library's own processor also takes videos, and so cannot be made without torchvision, the inputs are put
together here from tokenizer and picture processor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

PICTURE_TOKENS = {
    "Qwen2VLForConditionalGeneration": "<|image_pad|>",
    "Qwen2_5_VLForConditionalGeneration": "<|image_pad|>",
    "Qwen3VLForConditionalGeneration": "<|image_pad|>",
    "SmolVLMForConditionalGeneration": "<image>",
    "LlavaOnevisionForConditionalGeneration": "<image>",
    "InternVLForConditionalGeneration": "<IMG_CONTEXT>",
}


class LibraryAlone:
    """A checkpoint's model in fp32, and what goes into it."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.name = type(self.model).__name__
        self.reader: Any = transformers.AutoTokenizer.from_pretrained(folder)
        if self.name in PICTURE_TOKENS:
            self.pictures: Any = transformers.AutoImageProcessor.from_pretrained(folder)
        else:
            self.reader = transformers.AutoProcessor.from_pretrained(folder)

    def chat(self, prompt: str, shows_picture: bool) -> str:
        content = [*([{"type": "image"}] if shows_picture else []), {"type": "text", "text": prompt}]
        messages = [{"role": "user", "content": content}]
        return str(self.reader.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def inputs(self, text: str, picture: Image.Image | None, **options: Any) -> dict[str, Any]:
        if self.name not in PICTURE_TOKENS:
            shown = {"images": [picture]} if picture else {}
            return dict(self.reader(text=[text], return_tensors="pt", **shown, **options))
        pixels: dict[str, Any] = {}
        if picture:
            wanted = {"SmolVLM": {"return_row_col_info": True}, "InternVL": {"crop_to_patches": True}}
            extra = next((given for name, given in wanted.items() if self.name.startswith(name)), {})
            pixels = dict(
                self.pictures([[picture]] if "Smol" in self.name else [picture], return_tensors="pt", **extra)
            )
            text = text.replace(PICTURE_TOKENS[self.name], self._place(pixels))
            for unused in ("rows", "cols", "num_patches"):
                pixels.pop(unused, None)
        inputs = dict(self.reader([text], return_tensors="pt", **options))
        if "Qwen" in self.name:
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == self.model.config.image_token_id).long()
        return {**inputs, **pixels}

    def _place(self, pixels: dict[str, Any]) -> str:
        """Return the place of a picture in a prompt: as many tokens as the vision tower gives vectors."""
        token = PICTURE_TOKENS[self.name]
        if "Smol" in self.name:
            rows, columns = pixels["rows"][0][0], pixels["cols"][0][0]
            return get_image_prompt_string(rows, columns, 4, "<fake_token_around_image>", token, "<global-img>")
        known = {name: tensor for name, tensor in pixels.items() if name != "num_patches"}
        with torch.no_grad():
            features = self.model.base_model.get_image_features(**known, return_dict=True).pooler_output
        place = token * sum(vectors.numel() // vectors.shape[-1] for vectors in features)
        return f"<img>{place}</img>" if "InternVL" in self.name else place
