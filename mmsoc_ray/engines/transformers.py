"""The transformers engine: any picture-and-text or causal language model folder, greedy and repeatable."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from mmsoc_ray.engines.accelerator import DTYPES, choose_device, choose_dtype, recover_or_exit
from mmsoc_ray.engines.batching import BatchSize, pack, run_in_halves
from mmsoc_ray.engines.checkpoint import Checkpoint, load_checkpoint
from mmsoc_ray.engines.protocol import Answer, Picture, PreparedPost, Request
from mmsoc_ray.models.entry import ModelEntry

POSTS_AT_ONCE = 64
"""Encoded pictures of so many posts are held at a time; batches never mix posts of two such groups."""

ERROR_CHARACTERS = 500


@dataclass(frozen=True)
class _Encoded:
    """A request as the model takes it; every tensor has a leading axis of one."""

    post_index: int
    request_index: int
    max_new_tokens: int
    token_inputs: dict[str, torch.Tensor]  # (1, tokens): ids, mask, token types
    picture_inputs: dict[str, torch.Tensor]  # pixel values and their sizes
    picture_features: torch.Tensor | None  # (picture tokens, hidden), where the picture has been encoded already

    @property
    def prompt_tokens(self) -> int:
        return int(self.token_inputs["input_ids"].shape[1])

    @property
    def size(self) -> BatchSize:
        """Pictures of equal shapes can be stacked for every architecture, those of unequal shapes only for some."""
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(self.picture_inputs.items()))
        features = None if self.picture_features is None else tuple(self.picture_features.shape)
        return BatchSize((self.max_new_tokens, shapes, features), self.prompt_tokens, self.max_new_tokens)


class TransformersEngine:
    """Answers with ``generate`` of the transformers library, in batches of similar length within one call.

    Greedy, whatever the checkpoint's own generation settings say (sampling, repetition penalty, beams). The same posts
    give the same bytes on the same machine. A picture goes through the vision encoder once per call, however many
    requests show it, where the architecture takes encoded pictures (``mm_encoder_outputs`` of its ``forward``); the
    others get its pixels with every request.

    A batch that fails, for example for want of memory, is run again in halves down to one request; what fails alone
    gets its exception as ``error``. An accelerator that is lost ends the process, see ``accelerator.recover_or_exit``.

    Attributes:
        name: ``transformers``.
        version: Versions of transformers and torch.
    """

    name = "transformers"
    version = f"{transformers.__version__} (torch {torch.__version__})"

    def __init__(
        self,
        checkpoint: Path,
        entry: ModelEntry,
        *,
        threads: int | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        """Load the checkpoint.

        Args:
            checkpoint: Folder with a configuration, a tokenizer (and a processor) and safetensors weights.
            entry: The registry's entry: dtype, prompt template, whether it sees pictures, bound on a batch.
            threads: CPU threads of torch in this process; None leaves torch's choice.
            device: For example ``cuda:0``; None takes the first GPU, or the CPU.

        Raises:
            ConfigurationError: The folder is not there, has no safetensors, sees no pictures although the entry says
                so, or its chat template cannot frame a prompt.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = choose_device(device)
        self._dtype = choose_dtype(entry.dtype, self._device)
        self._entry = entry
        self._loaded: Checkpoint = load_checkpoint(checkpoint, entry, DTYPES[self._dtype], self._device)

    @property
    def dtype(self) -> str:
        """``bfloat16``, ``float16`` or ``float32``: what the weights and sums are in."""
        return self._dtype

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        """Answer every request of every post exactly once; see ``Engine.answer``."""
        for start in range(0, len(posts), POSTS_AT_ONCE):
            yield from self._answer_together(start, posts[start : start + POSTS_AT_ONCE])

    def _answer_together(self, first_index: int, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        encoded: list[_Encoded] = []
        for post_index, post in enumerate(posts, start=first_index):
            for request_index, result in enumerate(self._encode_post(post_index, post)):
                if isinstance(result, _Encoded):
                    encoded.append(result)
                else:
                    yield _failed(post_index, request_index, result)
        for batch in pack([request.size for request in encoded], self._entry.batch_tokens):
            requests = [encoded[position] for position in batch]
            yield from run_in_halves(
                requests,
                self._generate,
                lambda request, error: _failed(request.post_index, request.request_index, error),
                recover_or_exit,
            )

    def _encode_post(self, post_index: int, post: PreparedPost) -> Iterator[_Encoded | Exception]:
        """Tokenise a post's requests; its picture is preprocessed and encoded once."""
        features: torch.Tensor | None = None
        for request_index, request in enumerate(post.requests):
            try:
                token_inputs, picture_inputs = self._tokenise(request, post.image)
                if picture_inputs and features is None:
                    features = self._encode_picture(picture_inputs)
                if features is not None:
                    picture_inputs = {name: x for name, x in picture_inputs.items() if "pixel" not in name}
                yield _Encoded(
                    post_index,
                    request_index,
                    request.max_new_tokens,
                    token_inputs,
                    picture_inputs,
                    features if request.with_image else None,
                )
            except Exception as error:
                recover_or_exit(error)
                yield error

    def _tokenise(
        self, request: Request, picture: Picture | None
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return the inputs along the tokens and those of the picture."""
        loaded = self._loaded
        if request.with_image and loaded.processor is None:
            raise ValueError(f"model {self._entry.name!r} sees no pictures, but the request shows one")
        if request.with_image and picture is None:
            raise ValueError("the request shows a picture, but the post has none")
        text = loaded.wrapper.wrap(request.prompt, request.with_image)
        add_special_tokens = loaded.wrapper.add_special_tokens
        if loaded.processor is None:
            inputs = loaded.tokenizer(text, return_tensors="pt", add_special_tokens=add_special_tokens)
        else:
            # As a PIL picture: from an array, processors guess which axis holds the channels.
            pictures = {"images": [Image.fromarray(picture)]} if request.with_image and picture is not None else {}
            inputs = loaded.processor(
                text=[text], return_tensors="pt", add_special_tokens=add_special_tokens, **pictures
            )
        ids = inputs["input_ids"]
        self._check(ids[0].tolist(), request)
        tokens = {name: x for name, x in inputs.items() if x.shape == ids.shape and "pixel" not in name}
        pixels = {name: x for name, x in inputs.items() if name not in tokens}
        if not loaded.takes_token_types:
            tokens.pop("token_type_ids", None)
        return tokens, pixels

    def _check(self, token_ids: list[int], request: Request) -> None:
        """Refuse a prompt that does not fit, or in which the post's text became a control token."""
        context, asked = self._loaded.context_tokens, len(token_ids) + request.max_new_tokens
        if context is not None and asked > context:
            raise ValueError(
                f"the prompt has {len(token_ids)} tokens and its answer up to {request.max_new_tokens}, together "
                f"{asked}: more than the context of {context} tokens"
            )
        found = self._loaded.wrapper.control_tokens(token_ids)
        expected = self._loaded.frame_control_tokens[request.with_image]
        if found != expected:
            raise ValueError(
                f"the prompt holds {found} control tokens where the model's frame has {expected}: "
                "the post's text spells one in a way that could not be made harmless"
            )

    @torch.inference_mode()
    def _encode_picture(self, picture_inputs: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """Return the picture's features, or None where this architecture cannot be given them."""
        if not self._loaded.takes_encoded_pictures:
            return None
        model = self._loaded.model
        outputs = model.base_model.get_image_features(**self._to_device(picture_inputs), return_dict=True)
        features: Any = outputs.pooler_output
        # Exactly one tensor for the one picture, and nothing beside it that the language model would need.
        beside = set(outputs.keys()) - {"last_hidden_state", "pooler_output", "hidden_states", "attentions"}
        if beside or not isinstance(features, list | tuple) or len(features) != 1:
            self._loaded.takes_encoded_pictures = False
            return None
        encoded: torch.Tensor = features[0]
        return encoded

    @torch.inference_mode()
    def _generate(self, requests: Sequence[_Encoded]) -> list[Answer]:
        started = time.perf_counter()
        loaded = self._loaded
        inputs: dict[str, Any] = self._to_device(_stack(requests, loaded.pad_token_id))
        if requests[0].picture_features is not None:
            features: Any = [request.picture_features for request in requests]
            inputs["mm_encoder_outputs"] = {
                "image": transformers.modeling_outputs.BaseModelOutputWithPooling(pooler_output=features)
            }
        sequences = loaded.model.generate(
            **inputs, generation_config=loaded.greedy(max_new_tokens=requests[0].max_new_tokens)
        )
        first_new = 1 if loaded.model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        new_tokens = sequences[:, first_new:].tolist()
        latency_s = time.perf_counter() - started
        return [self._finish(request, tokens, latency_s) for request, tokens in zip(requests, new_tokens, strict=True)]

    def _finish(self, request: _Encoded, tokens: list[int], latency_s: float) -> Answer:
        """Cut the answer at its end token; what follows is padding."""
        end = next((place for place, token in enumerate(tokens) if token in self._loaded.end_token_ids), None)
        kept = tokens if end is None else tokens[:end]
        output = self._loaded.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Answer(
            post_index=request.post_index,
            request_index=request.request_index,
            output=output,
            finish_reason="length" if end is None else "stop",
            prompt_tokens=request.prompt_tokens,
            output_tokens=len(kept),
            latency_s=latency_s,
        )

    def _to_device(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name: tensor.to(self._device, DTYPES[self._dtype] if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
        }


def _stack(requests: Sequence[_Encoded], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Pad prompts on the left to one length and put the pictures' tensors one after another."""
    width = max(request.prompt_tokens for request in requests)
    stacked: dict[str, torch.Tensor] = {}
    for name in requests[0].token_inputs:
        fill = pad_token_id if name == "input_ids" else 0
        rows = [request.token_inputs[name] for request in requests]
        stacked[name] = torch.cat([torch.nn.functional.pad(x, (width - x.shape[1], 0), value=fill) for x in rows])
    for name in requests[0].picture_inputs:
        stacked[name] = torch.cat([request.picture_inputs[name] for request in requests])
    return stacked


def _failed(post_index: int, request_index: int, error: Exception) -> Answer:
    message = f"{type(error).__name__}: {error}"
    return Answer(post_index, request_index, output=None, error=message[:ERROR_CHARACTERS], finish_reason="error")
