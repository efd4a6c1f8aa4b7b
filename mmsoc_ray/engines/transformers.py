"""The transformers engine: any picture-and-text or causal language model folder, repeatable even where it samples."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from mmsoc_ray.engines.accelerator import DTYPES, choose_device, choose_dtype, recover_or_exit
from mmsoc_ray.engines.adapters import AdapterSwitch
from mmsoc_ray.engines.attention import group_queries
from mmsoc_ray.engines.batching import BatchSize, pack, run_in_halves
from mmsoc_ray.engines.checkpoint import Checkpoint, answer_end, load_checkpoint, read_answer
from mmsoc_ray.engines.decoder import Decoder, Prompts, select_rows, token_bytes
from mmsoc_ray.engines.encoded import EncodedRequest, stack
from mmsoc_ray.engines.label_scores import LabelScorer
from mmsoc_ray.engines.pictures import PictureEncoder, ReadRequest
from mmsoc_ray.engines.protocol import ERROR_CHARACTERS, Answer, PreparedPost, Request
from mmsoc_ray.engines.reading import RequestReader
from mmsoc_ray.engines.request_seed import request_seed
from mmsoc_ray.engines.shared_prefix import Family, continued_inputs, find_families, prefix_inputs
from mmsoc_ray.engines.versions import transformers_version
from mmsoc_ray.models.entry import ModelEntry

POSTS_AT_ONCE = 64
"""Encoded pictures of so many posts are held at a time; batches never mix posts of two such groups."""

HELD_BYTES = 2**30
"""Requests that continue shared prefixes may hold keys and values of so many bytes in a batch, if ``batch_tokens`` are
not more: copying a prefix for a request costs little, and the more requests a step of decoding has, the less each."""

EXAMPLES_AT_ONCE = 256
"""So many example pictures, counted in every request that shows them, are held at a time; one post may have more."""


class TransformersEngine:
    """Answers with the transformers library, in batches of similar length within one call.

    Decodes as the entry says (greedy by default), whatever the checkpoint's own generation settings say (sampling,
    repetition penalty, beams). The same posts give the same bytes on the same machine, sampled answers too: their
    random numbers depend on the request alone (``sampling``). What a post's requests have in common is computed once,
    where the architecture allows it without changing a result beyond rounding: the encoded picture
    (``mm_encoder_outputs`` of its ``forward``) and, with no beams, penalties and least lengths, the common prefix of
    the prompts (``shared_prefix.can_share``); an example's picture is encoded once for all posts. Such requests are
    continued together, whatever the limits of their answers (``decoder``). Other architectures get pixels and prompt
    whole with every request, and the library's ``generate``. Requests of one adapter are computed together, apart from
    those of others and of the base model; pictures are encoded once for all whose adapters leave their features as they
    are.

    A batch that fails, for example for want of memory, is run again in halves down to one post, then request by
    request; what fails alone gets its exception as ``error``. An accelerator that is lost ends the process, see
    ``accelerator.recover_or_exit``.

    Attributes:
        name: ``transformers``.
        version: This package's own revision of the engine, and the versions of the packages that shape its answers.
    """

    name = "transformers"
    version = transformers_version()

    def __init__(
        self,
        checkpoint: Path | Checkpoint,
        entry: ModelEntry,
        *,
        threads: int | None = None,
        device: str | torch.device | None = None,
        adapters: Mapping[str, Path] | None = None,
        alone: bool = False,
    ) -> None:
        """Load the checkpoint.

        Args:
            checkpoint: Folder with a configuration, a tokenizer (and a processor) and safetensors weights; or a
                checkpoint that is loaded already, on ``device`` and in the entry's dtype.
            entry: The registry's entry: dtype, prompt template, whether it sees pictures, bound on a batch.
            threads: CPU threads of torch in this process; None leaves torch's choice.
            device: For example ``cuda:0``; None takes the first GPU, or the CPU.
            adapters: Folders of low-rank adapters by name; ``Request.adapter`` chooses.
            alone: Compute each request by itself, as the library alone would: no batch, nothing shared.

        Raises:
            ConfigurationError: The folder is not there, has no safetensors, sees no pictures although the entry says
                so, or its chat template cannot frame a prompt; or an adapter does not fit.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = choose_device(device)
        self._dtype = choose_dtype(entry.dtype, self._device)
        self._entry = entry
        self._loaded: Checkpoint = (
            checkpoint
            if isinstance(checkpoint, Checkpoint)
            else load_checkpoint(checkpoint, entry, DTYPES[self._dtype], self._device)
        )
        if alone:
            self._entry = dataclasses.replace(entry, batch_tokens=1)
            self._loaded.shares_prefixes = self._loaded.takes_encoded_pictures = False
        if self._loaded.shares_prefixes:
            group_queries(self._loaded.model)
        self._reader = RequestReader(self._loaded, entry.name)
        self._adapters = AdapterSwitch(self._loaded.model, adapters or {}, device=str(self._device))
        self._encoders: dict[str, PictureEncoder] = {}
        self._decoder = Decoder(self._loaded.model, self._loaded.end_token_ids, entry.decoding)
        self._labels = LabelScorer(self._loaded)

    @property
    def dtype(self) -> str:
        """``bfloat16``, ``float16`` or ``float32``: what the weights and sums are in."""
        return self._dtype

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        """Answer every request of every post exactly once; see ``Engine.answer``."""
        for start, end in itertools.pairwise(_cuts(posts)):
            yield from self._answer_together(start, posts[start:end])

    def _answer_together(self, first_index: int, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        encoded: list[EncodedRequest] = []
        for post_index, request_index, result in self._encode_posts(first_index, posts):
            if isinstance(result, EncodedRequest):
                encoded.append(result)
            else:
                yield _failed(post_index, request_index, result)
        families: list[Family] = []
        if self._loaded.shares_prefixes:
            families, encoded = find_families(encoded, self._loaded.image_token_id)
        yield from self._answer_families(families)
        yield from self._answer_whole(encoded)

    def _answer_families(self, families: Sequence[Family]) -> Iterator[Answer]:
        sizes = [BatchSize(family.requests[0].kind, family.prefix_tokens, 0) for family in families]
        for batch in pack(sizes, self._entry.batch_tokens):
            for answers in run_in_halves(
                [families[position] for position in batch],
                self._continue_prefixes,
                lambda family, _: list(self._answer_whole(family.requests)),
                recover_or_exit,
            ):
                yield from answers

    def _answer_whole(self, requests: Sequence[EncodedRequest]) -> Iterator[Answer]:
        batch_tokens = self._entry.batch_tokens // self._entry.decoding.num_beams  # each beam is a row of the batch
        sizes = [request.size(own_limit=self._computes(request)) for request in requests]
        for batch in pack(sizes, batch_tokens):
            yield from run_in_halves(
                [requests[position] for position in batch],
                self._generate_whole,
                lambda request, error: _failed(request.post_index, request.request_index, error),
                recover_or_exit,
            )

    def _encode_posts(
        self, first_index: int, posts: Sequence[PreparedPost]
    ) -> Iterator[tuple[int, int, EncodedRequest | Exception]]:
        """Tokenise the posts' requests and encode their pictures; yield each with its place, or why it cannot be."""
        read: list[ReadRequest] = []
        for post_index, post in enumerate(posts, start=first_index):
            self._reader.begin_post()
            for request_index, request in enumerate(post.requests):
                try:
                    self._adapters.check(request.adapter)
                    tokens, pixels = self._reader.read(request, post.image)
                    labels = self._label_tokens(request, tokens)
                except Exception as error:
                    recover_or_exit(error)
                    yield post_index, request_index, error
                else:
                    read.append(ReadRequest(post_index, request_index, request, post.image, tokens, pixels, labels))
        encoding = [self._adapters.for_pictures(one.request.adapter) for one in read]
        for adapter in dict.fromkeys(encoding):
            self._adapters.use(adapter)
            together = [one for one, its in zip(read, encoding, strict=True) if its == adapter]
            for one, features in zip(together, self._encoder(adapter).encode(together), strict=True):
                image_sha256 = posts[one.post_index - first_index].image_sha256
                seed = request_seed(self._entry.decoding.seed, one.request, image_sha256)
                result = features if isinstance(features, Exception) else _encoded(one, features, seed)
                yield one.post_index, one.request_index, result

    def _encoder(self, adapter: str) -> PictureEncoder:
        """Return what encodes pictures with an adapter, or with none: it remembers the examples' features."""
        if adapter not in self._encoders:
            self._encoders[adapter] = PictureEncoder(self._loaded, self._to_device, recover_or_exit)
        return self._encoders[adapter]

    def _label_tokens(
        self, request: Request, token_inputs: dict[str, torch.Tensor]
    ) -> dict[str, tuple[int, ...]] | None:
        if not request.labels:
            return None
        tokens = self._labels.tokens(self._loaded.wrapper.wrap(request.pieces), request.labels)
        self._reader.check_length(token_inputs["input_ids"].shape[1], max(map(len, tokens.values())))
        return tokens

    @torch.inference_mode()
    def _continue_prefixes(self, families: Sequence[Family]) -> list[list[Answer]]:
        """Compute the families' prefixes in one pass, then answer all requests from there; answers by family."""
        started = time.perf_counter()
        self._adapters.use(families[0].requests[0].adapter)
        pad = self._loaded.pad_token_id
        prefixes = prefix_inputs(families, pad)
        shown = _encoded_pictures(family.requests[0].picture_features[: family.prefix_pictures] for family in families)
        prefix = self._decoder.compute(self._to_device(prefixes), shown).inputs["past_key_values"]
        requests = [(row, request) for row, family in enumerate(families) for request in family.requests]
        suffixes = [request.token_inputs["input_ids"][:, families[row].prefix_tokens :] for row, request in requests]
        width = prefixes["input_ids"].shape[1]
        sizes = [
            BatchSize((), width + suffix.shape[1], request.max_new_tokens, known_tokens=width)
            for (_, request), suffix in zip(requests, suffixes, strict=True)
        ]
        answers: list[list[Answer]] = [[] for _ in families]
        held_tokens = max(self._entry.batch_tokens, HELD_BYTES // token_bytes(prefix))
        for batch in pack(sizes, self._entry.batch_tokens, held_tokens):
            rows = [requests[position][0] for position in batch]
            asked = [requests[position][1] for position in batch]
            inputs = continued_inputs(prefixes, rows, [suffixes[position] for position in batch], pad)
            behind = _encoded_pictures(
                request.picture_features[families[row].prefix_pictures :]
                for row, request in zip(rows, asked, strict=True)
            )
            room = inputs["input_ids"].shape[1] - width + max(request.max_new_tokens for request in asked)
            prompts = self._decoder.compute(self._to_device(inputs), behind, select_rows(prefix, rows, room))
            for row, request, said, scores in zip(rows, asked, *self._say(prompts, asked), strict=True):
                again = 0 if request is families[row].requests[0] else families[row].prefix_tokens
                latency_s = time.perf_counter() - started
                answers[row].append(self._finish(request, said, scores, latency_s, cached_tokens=again))
        return answers

    def _computes(self, request: EncodedRequest) -> bool:
        """Whether a request is answered by ``Decoder``; by the library's ``generate`` otherwise."""
        return self._loaded.shares_prefixes and request.is_plain

    def _say(
        self, prompts: Prompts, requests: Sequence[EncodedRequest]
    ) -> tuple[list[list[int]], list[dict[str, float] | None]]:
        """Return the answers to computed prompts, and the scores of their labels."""
        scores = self._labels.scores(self._loaded.model, prompts.inputs, requests)
        limits = [request.max_new_tokens for request in requests]
        return self._decoder.answer(prompts, limits, [request.seed for request in requests]), scores

    @torch.inference_mode()
    def _generate_whole(self, requests: Sequence[EncodedRequest]) -> list[Answer]:
        started = time.perf_counter()
        self._adapters.use(requests[0].adapter)
        inputs: dict[str, Any] = self._to_device(stack(requests, self._loaded.pad_token_id))
        pictures = _encoded_pictures(request.picture_features for request in requests)
        if self._computes(requests[0]):
            said, scores = self._say(self._decoder.compute(inputs, pictures), requests)
        else:
            inputs |= pictures
            said = self._generate(inputs, requests)
            scores = self._labels.scores(self._answering(inputs), inputs, requests)
        latency_s = time.perf_counter() - started
        return [self._finish(*answered, latency_s) for answered in zip(requests, said, scores, strict=True)]

    def _generate(self, inputs: dict[str, Any], requests: Sequence[EncodedRequest]) -> list[list[int]]:
        prompt_tokens = inputs["input_ids"].shape[1]
        limit, seeds = requests[0].max_new_tokens, [request.seed for request in requests]
        options = self._loaded.decoding_options(self._entry.decoding, limit, prompt_tokens, seeds)
        sequences = self._answering(inputs).generate(**inputs, **options)
        first_new = 1 if self._loaded.text_model.config.is_encoder_decoder else prompt_tokens
        new_tokens: list[list[int]] = sequences[:, first_new:].tolist()
        return new_tokens

    def _answering(self, inputs: dict[str, Any]) -> Any:
        """Return the model, or the language model inside it where that alone answers without a picture."""
        shows_picture = "pixel_values" in inputs or "mm_encoder_outputs" in inputs
        return self._loaded.model if shows_picture else self._loaded.text_model

    def _finish(
        self,
        request: EncodedRequest,
        tokens: list[int],
        label_scores: dict[str, float] | None,
        latency_s: float,
        cached_tokens: int = 0,
    ) -> Answer:
        """Cut the answer at its end token; what follows is padding."""
        output, length, ended = read_answer(self._loaded.tokenizer, self._loaded.end_token_ids, tokens)
        return Answer(
            post_index=request.post_index,
            request_index=request.request_index,
            output=output,
            finish_reason="stop" if ended else "length",
            prompt_tokens=request.prompt_tokens,
            output_tokens=length,
            cached_tokens=cached_tokens,
            latency_s=latency_s,
            label_scores=label_scores,
            token_ids=tuple(tokens[: length + ended]),
        )

    def tokens_of(self, text: str, *, ended: bool) -> list[int]:
        """Return the tokens of an answer's text, with an end token behind them where it has ended."""
        tokens: list[int] = self._loaded.tokenizer.encode(text, add_special_tokens=False)
        end = answer_end(self._loaded.tokenizer, self._loaded.wrapper)
        return [*tokens, end] if ended and end is not None else tokens

    def spell(self, token: int) -> str:
        """Return a token as text, a control token by its name."""
        text: str = self._loaded.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return text or str(self._loaded.tokenizer.convert_ids_to_tokens(token))

    @torch.inference_mode()
    def next_token(self, post: PreparedPost, said: Sequence[int]) -> torch.Tensor:
        """Return each token's log-probability behind a post's only request and the beginning of its answer.

        Computed alone, over the whole prompt, greedily whatever the entry's decoding.

        Args:
            post: A post with one request.
            said: Tokens of the answer so far.

        Returns:
            Natural logarithms, shape (vocabulary,).

        Raises:
            PromptError, ValueError: The request cannot be asked.
        """
        ((_, _, encoded),) = self._encode_posts(0, [post])
        if isinstance(encoded, Exception):
            raise encoded
        self._adapters.use(encoded.adapter)
        inputs = {
            **self._to_device(stack([encoded], self._loaded.pad_token_id)),
            **_encoded_pictures([encoded.picture_features]),
        }
        return self._labels.next_token(self._answering(inputs), inputs, said)

    def _to_device(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name: tensor.to(self._device, DTYPES[self._dtype] if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
        }


def _encoded(read: ReadRequest, features: tuple[torch.Tensor, ...], seed: int) -> EncodedRequest:
    """Return a request with the features of its pictures in place of their pixels, where there are any."""
    pixels = {name: x for name, x in read.picture_inputs.items() if not features or "pixel" not in name}
    return EncodedRequest(
        read.post_index,
        read.request_index,
        read.request.max_new_tokens,
        read.token_inputs,
        pixels,
        features,
        read.label_tokens,
        tuple(map(id, read.request.example_pictures)),
        read.request.adapter,
        seed,
    )


def _encoded_pictures(rows: Iterable[tuple[torch.Tensor, ...]]) -> dict[str, Any]:
    """Return the argument that gives ``generate`` the pictures' features, row by row and in order, or none."""
    features: Any = [encoded for row in rows for encoded in row]
    if not features:
        return {}
    outputs = transformers.modeling_outputs.BaseModelOutputWithPooling(pooler_output=features)
    return {"mm_encoder_outputs": {"image": outputs}}


def _cuts(posts: Sequence[PreparedPost]) -> list[int]:
    """Return where a sequence of posts is cut so that each part has at most so many posts and example pictures."""
    cuts, shown = [0], 0
    for place, post in enumerate(posts):
        examples = sum(len(request.example_pictures) for request in post.requests)
        if place > cuts[-1] and (place - cuts[-1] == POSTS_AT_ONCE or shown + examples > EXAMPLES_AT_ONCE):
            cuts.append(place)
            shown = 0
        shown += examples
    return [*cuts, len(posts)] if posts else []


def _failed(post_index: int, request_index: int, error: Exception) -> Answer:
    message = f"{type(error).__name__}: {error}"
    return Answer(post_index, request_index, output=None, error=message[:ERROR_CHARACTERS], finish_reason="error")
