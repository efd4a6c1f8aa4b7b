"""How a request becomes what the model takes: tokens of the framed prompt, pixels of its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from mmsoc_ray.engines.checkpoint import Checkpoint
from mmsoc_ray.engines.encoded import SECOND_PROMPT
from mmsoc_ray.engines.prompt_checks import check_length, framed
from mmsoc_ray.engines.protocol import Picture, Request

Inputs = dict[str, torch.Tensor]


class RequestReader:
    """Frames and tokenises requests; a picture that several of a post's requests show is processed once."""

    def __init__(self, loaded: Checkpoint, model: str) -> None:
        """Prepare a checkpoint's processor.

        Args:
            loaded: The checkpoint; its processor is asked through this reader from here on.
            model: Name of the model, for errors.
        """
        self._loaded = loaded
        self._model = model
        self._pictures = _ProcessedOnce(getattr(loaded.processor, "image_processor", None))
        if loaded.processor is not None:
            loaded.processor.image_processor = self._pictures

    def begin_post(self) -> None:
        """Forget the pictures of the last post."""
        self._pictures.forget()

    def read(self, request: Request, picture: Picture | None) -> tuple[Inputs, Inputs]:
        """Return the inputs along the tokens and those of the picture.

        Raises:
            PromptError: The prompt does not fit the context, or a post's text became a control token.
            ValueError: The request shows a picture that is not there, or that the model cannot see.
        """
        loaded = self._loaded
        text, _ = framed(
            request, loaded.wrapper, loaded.frame_control_tokens, has_picture=picture is not None, model=self._model
        )
        shown = [*request.example_pictures, picture] if request.with_image and picture is not None else []
        inputs = self._process(text, shown)
        ids = inputs["input_ids"]
        self.check_length(ids.shape[1], request.max_new_tokens, len(request.example_pictures))
        if request.with_image and loaded.image_token_id is not None and loaded.image_token_id not in ids:
            raise ValueError("the checkpoint's processor left no place for the picture in the prompt")
        if not request.with_image:
            inputs = {name: x for name, x in inputs.items() if not name.startswith(SECOND_PROMPT)}
        tokens = {
            name: x
            for name, x in inputs.items()
            if name.startswith(SECOND_PROMPT) or (x.shape == ids.shape and "pixel" not in name)
        }
        pixels = {name: x for name, x in inputs.items() if name not in tokens}
        if not loaded.takes_token_types:
            tokens.pop("token_type_ids", None)
        return tokens, pixels

    def _process(self, text: str, shown: list[Picture]) -> Mapping[str, torch.Tensor]:
        add_special_tokens = self._loaded.wrapper.add_special_tokens
        if self._loaded.processor is None:
            plain: Mapping[str, torch.Tensor] = self._loaded.tokenizer(
                text, return_tensors="pt", add_special_tokens=add_special_tokens
            )
            return plain
        # One list a prompt: some processors would spread a flat one over the prompts.
        images = self._pictures.drawn(shown)
        pictures = {"images": [images] if len(images) > 1 else images} if images else {}
        inputs: Mapping[str, torch.Tensor] = self._loaded.processor(
            text=[text], return_tensors="pt", add_special_tokens=add_special_tokens, **pictures
        )
        return inputs

    def check_length(self, prompt_tokens: int, max_new_tokens: int, example_pictures: int = 0) -> None:
        """Refuse a prompt that does not fit: nothing is cut silently.

        Raises:
            PromptError: Prompt and answer are together longer than the context.
        """
        answered_apart = self._loaded.text_model.config.is_encoder_decoder
        behind = 0 if answered_apart else max_new_tokens
        check_length(prompt_tokens, behind, self._loaded.context_tokens, example_pictures)


class _ProcessedOnce:
    """A picture processor that remembers what it made of the pictures of one post; all else is the processor's own."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._drawn: dict[int, tuple[Picture, Image.Image]] = {}
        self._made: dict[tuple[int, ...], Any] = {}

    def forget(self) -> None:
        self._drawn.clear()
        self._made.clear()

    def drawn(self, pictures: list[Picture]) -> list[Image.Image]:
        """Return pictures as PIL has them: from an array, processors guess which axis holds the channels."""
        for pixels in pictures:
            if id(pixels) not in self._drawn:
                self._drawn[id(pixels)] = pixels, Image.fromarray(pixels)  # with the pixels, whose id stays theirs
        return [self._drawn[id(pixels)][1] for pixels in pictures]

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        key = tuple(id(image) for image in _flat(images))
        if not key or not {id(image) for _, image in self._drawn.values()}.issuperset(key):
            return self._processor(images, *args, **kwargs)  # a copy that may be gone, and its id another's
        if key not in self._made:
            self._made[key] = self._processor(images, *args, **kwargs)
        return type(self._made[key])(dict(self._made[key]))  # the caller may take entries out of it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)


def _flat(images: Any) -> list[Any]:
    return [flat for image in images for flat in _flat(image)] if isinstance(images, list | tuple) else [images]
