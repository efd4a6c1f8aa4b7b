"""A checkpoint folder, loaded with the transformers library: model, tokenizer, processor and how it stops."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from mmsoc_ray.engines.processor import load_processor
from mmsoc_ray.engines.sampling import SampledTokens
from mmsoc_ray.engines.shared_prefix import can_share
from mmsoc_ray.engines.wrapping import PromptWrapper
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.entry import Decoding, ModelEntry

_library: Any = transformers  # annotated in parts only, which mypy --strict refuses call by call

_LOCAL: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
"""No code out of a checkpoint's folder, no call to a hub."""


@dataclass
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        model: The model in evaluation mode, on its device.
        text_model: What answers requests without a picture: ``model`` itself, or the language model inside one whose
            ``generate`` insists on a picture (BLIP-2, InstructBLIP).
        tokenizer: Its tokenizer.
        processor: Tokenizer and picture preprocessing in one, or None where it sees no pictures.
        wrapper: The checkpoint's own frame around a prompt.
        end_token_ids: Any of them ends an answer.
        pad_token_id: Fills prompts on the left.
        context_tokens: Prompt and answer together cannot be longer; None if the checkpoint does not say.
        frame_control_tokens: Control tokens of an empty frame, without (False) and with a picture (True).
        takes_token_types: Whether ``forward`` knows ``token_type_ids``.
        takes_encoded_pictures: Whether ``generate`` can be given a picture's features in place of its pixels.
        shares_prefixes: Whether a common prefix can be computed once for several prompts.
        image_token_id: Stands for a picture in a prompt, or None.
    """

    model: Any
    text_model: Any
    tokenizer: Any
    processor: Any | None
    wrapper: PromptWrapper
    end_token_ids: frozenset[int]
    pad_token_id: int
    context_tokens: int | None
    frame_control_tokens: dict[bool, int]
    takes_token_types: bool
    takes_encoded_pictures: bool
    shares_prefixes: bool
    image_token_id: int | None

    def greedy(self, max_new_tokens: int, *, with_cache: bool = False) -> Any:
        """Return the ``GenerationConfig`` of a greedy answer of at most so many tokens.

        Args:
            max_new_tokens: The limit.
            with_cache: Return keys and values beside the tokens.
        """
        return _library.GenerationConfig(
            do_sample=False,
            num_beams=1,
            return_dict_in_generate=with_cache,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self.end_token_ids),
            pad_token_id=self.pad_token_id,
            bos_token_id=self.tokenizer.bos_token_id,
            decoder_start_token_id=self.model.generation_config.decoder_start_token_id,
        )

    def decoding_options(
        self, decoding: Decoding, max_new_tokens: int, prompt_tokens: int, seeds: Sequence[int]
    ) -> dict[str, Any]:
        """Return the arguments of ``generate`` for an answer of at most so many tokens.

        Args:
            decoding: How the answer is drawn.
            max_new_tokens: The limit.
            prompt_tokens: Length of the padded prompts, which the repetition penalty leaves alone.
            seeds: For each row its request's seed, see ``request_seed``.
        """
        options = self.greedy(max_new_tokens)
        options.update(num_beams=decoding.num_beams, min_length=decoding.min_length)
        if decoding.num_beams > 1:
            options.update(length_penalty=decoding.length_penalty)
        processors: list[Any] = []
        if decoding.repetition_penalty != 1.0:
            # An encoder-decoder's prompt does not stand before its answer, where the penalty looks.
            before = None if self.text_model.config.is_encoder_decoder else prompt_tokens
            processors.append(
                _library.RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty, prompt_ignore_length=before)
            )
        if decoding.samples:  # last, behind what penalises and bars: the library's own come before those given here
            processors.append(SampledTokens(decoding, seeds))
        return {"generation_config": options, "logits_processor": processors}


def load_checkpoint(folder: Path, entry: ModelEntry, dtype: torch.dtype, device: torch.device) -> Checkpoint:
    """Load a checkpoint folder: safetensors only, no code out of the folder, no call to a hub.

    Args:
        folder: The checkpoint.
        entry: Says whether pictures are shown and how a prompt is framed.
        dtype: Of the weights.
        device: Where the model goes; ``meta`` is nowhere: the model has shapes and no weights, and only reads prompts.

    Raises:
        ConfigurationError: The folder is missing or has no safetensors, or sees no pictures although the entry says
            so, or its frame cannot be used.
    """
    config, tokenizer, processor, where = load_readers(folder, entry)
    if device.type != "meta" and not any(folder.glob("*.safetensors")):
        raise ConfigurationError(
            f"{where}: no *.safetensors there; pickled weights are not loaded, convert them with "
            "save_pretrained(..., safe_serialization=True)"
        )
    if device.type == "meta":
        model = _without_weights(folder, config, dtype)
    else:
        model = load_model(folder, dtype).to(device).eval()
    wrapper = frame_of(entry, tokenizer, processor, where)
    needs_picture = inspect.signature(model.generate).parameters.get("pixel_values") is not None
    text_model = model.language_model if needs_picture else model
    ends = end_token_ids((model.generation_config, text_model.generation_config), tokenizer, wrapper)
    sources = (model.generation_config, text_model.generation_config, config.get_text_config(decoder=True))
    starts = (getattr(source, "decoder_start_token_id", None) for source in sources)
    start = next((token for token in starts if token is not None), None)
    # generate() fills what a call leaves open from here: nothing of the checkpoint's sampling may come back.
    for part in (model, text_model):
        part.generation_config = _library.GenerationConfig(decoder_start_token_id=start)
    pad_token_id = tokenizer.pad_token_id
    parameters = inspect.signature(model.forward).parameters
    return Checkpoint(
        model=model,
        text_model=text_model,
        tokenizer=tokenizer,
        processor=processor,
        wrapper=wrapper,
        end_token_ids=ends,
        pad_token_id=min(ends, default=0) if pad_token_id is None else pad_token_id,
        context_tokens=positions(config, tokenizer),
        frame_control_tokens=wrapper.empty_frames(with_pictures=processor is not None),
        takes_token_types="token_type_ids" in parameters,
        takes_encoded_pictures="mm_encoder_outputs" in parameters and not (needs_picture or config.is_encoder_decoder),
        shares_prefixes=entry.decoding.takes_logits_as_they_are and not needs_picture and can_share(model),
        image_token_id=getattr(config, "image_token_id", None),
    )


def load_model(folder: Path, dtype: torch.dtype | None = None) -> Any:
    """Load a checkpoint folder's model alone, as ``load_checkpoint`` does.

    Args:
        folder: The checkpoint.
        dtype: Of the weights; None leaves them in their own.
    """
    _library.utils.logging.disable_progress_bar()
    auto = _auto_class(_library.AutoConfig.from_pretrained(folder, **_LOCAL))
    return auto.from_pretrained(folder, dtype=dtype or "auto", use_safetensors=True, **_LOCAL)


def _auto_class(config: Any) -> Any:
    return _library.AutoModelForImageTextToText if _takes_pictures(config) else _library.AutoModelForCausalLM


def _takes_pictures(config: Any) -> bool:
    return type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def _without_weights(folder: Path, config: Any, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        model = _auto_class(config).from_config(config, dtype=dtype).eval()
    if (folder / "generation_config.json").is_file():
        model.generation_config = _library.GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model


def load_wrapper(folder: Path, entry: ModelEntry) -> PromptWrapper:
    """Return a checkpoint's frame around a prompt without loading its weights.

    Raises:
        ConfigurationError: As ``load_checkpoint``.
    """
    _, tokenizer, processor, where = load_readers(folder, entry)
    return frame_of(entry, tokenizer, processor, where)


def load_readers(folder: Path, entry: ModelEntry) -> tuple[Any, Any, Any | None, str]:
    """Return configuration, tokenizer, processor (None where the architecture sees no pictures), and what errors name.

    Raises:
        ConfigurationError: As ``load_checkpoint``.
    """
    where = f"model {entry.name!r}, checkpoint {str(folder)!r}"
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"{where}: no config.json there; name a folder that save_pretrained has written")
    config = _library.AutoConfig.from_pretrained(folder, **_LOCAL)
    if not _takes_pictures(config):
        if entry.sees_pictures:
            raise ConfigurationError(
                f"{where}: its architecture {config.model_type!r} takes no pictures; set sees_pictures to false"
            )
        return config, _library.AutoTokenizer.from_pretrained(folder, **_LOCAL), None, where
    try:
        processor = load_processor(folder, config, **_LOCAL)
    except ImportError as error:  # its first lines name the package that is missing
        missing = " ".join(str(error).split())[:300]
        raise ConfigurationError(f"{where}: its processor needs a package that is not installed: {missing}") from error
    return config, processor.tokenizer, processor, where


def frame_of(entry: ModelEntry, tokenizer: Any, processor: Any | None, where: str) -> PromptWrapper:
    """Return the frame that an entry names.

    Raises:
        ConfigurationError: It cannot be used.
    """
    try:
        return PromptWrapper(entry.prompt_template, tokenizer, processor)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from error


def end_token_ids(generations: Sequence[Any], tokenizer: Any, wrapper: PromptWrapper) -> frozenset[int]:
    """Collect what ends an answer: the end tokens of generation settings, and the chat template's end of turn."""
    own = [generation.eos_token_id for generation in generations]
    listed = [token for tokens in own for token in (tokens if isinstance(tokens, list) else [tokens])]
    candidates = [*listed, tokenizer.eos_token_id, wrapper.end_of_turn_id()]
    return frozenset(token for token in candidates if token is not None)


def answer_end(tokenizer: Any, wrapper: PromptWrapper) -> int | None:
    """Return the token with which a model of this frame ends its answer; None where the checkpoint has none."""
    turn = wrapper.end_of_turn_id()
    end: int | None = tokenizer.eos_token_id if turn is None else turn
    return end


def read_answer(tokenizer: Any, end_token_ids: frozenset[int], tokens: Sequence[int]) -> tuple[str, int, bool]:
    """Return the text of an answer up to its end token, how many tokens stand before that, and whether it ended."""
    end = next((place for place, token in enumerate(tokens) if token in end_token_ids), None)
    kept = list(tokens[:end])
    output = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(output), len(kept), end is not None


def positions(config: Any, tokenizer: Any) -> int | None:
    """Return how many tokens a prompt and its answer can have; None where the checkpoint does not say."""
    found = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    if found is not None:
        return int(found)
    # The tokenizer says 1e30 where it does not know.
    return int(tokenizer.model_max_length) if tokenizer.model_max_length < 10**9 else None
