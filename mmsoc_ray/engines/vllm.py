"""The vLLM engine: continuous batching, with the prefix and the picture of a post computed once for all its tasks."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import queue
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from mmsoc_ray.engines.accelerator import choose_device, choose_dtype
from mmsoc_ray.engines.companions import Companions
from mmsoc_ray.engines.frame import load_frame
from mmsoc_ray.engines.label_words import LabelScores, LabelTokens, LabelWords, shares
from mmsoc_ray.engines.nvml import WatchedGpus
from mmsoc_ray.engines.prompt_checks import check_length
from mmsoc_ray.engines.protocol import ERROR_CHARACTERS, Answer, Picture, PreparedPost, PromptError, Request
from mmsoc_ray.engines.request_seed import request_seed
from mmsoc_ray.engines.versions import vllm_version
from mmsoc_ray.engines.vllm_start import check_vllm, engine_options, lora_requests, set_environment
from mmsoc_ray.models.entry import ModelEntry

WAITING_PER_RUNNING = 2
"""Requests under way over those that run together: so many more wait in the engine that it never runs dry."""
GREEDY: Mapping[str, Any] = {"temperature": 0.0}
"""Arguments of ``SamplingParams``."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Served:
    """What one call of ``generate`` gave.

    Attributes:
        tokens: The answer's tokens, the end token included.
        prompt_tokens: Length of the whole prompt, pictures included.
        cached_tokens: Of these, so many were not computed again.
        first: Log-probability of each token asked for, at the first place of the answer.
    """

    tokens: list[int]
    prompt_tokens: int
    cached_tokens: int
    first: Mapping[int, float]


class VllmEngine:
    """Answers with vLLM's ``AsyncLLM``, greedily or sampled, with any number of calls of ``answer`` at a time.

    Requests enter in the order of the posts, and each answer leaves as it is finished; nothing waits for a batch. A
    picture keeps one identity over all requests that show it, so that vLLM prepares and encodes it once; picture and
    post stand before the question, so that its prefix cache serves all tasks of a post. The frame around a prompt, what
    is refused, and what ends an answer are those of the transformers engine.

    Which requests share a step depends on the moment, so that the low bits of a sum may differ from run to run; see
    ``mmsoc agree``. A sampled request has a seed of its own (``request_seed``), from which vLLM makes the random
    numbers of that request alone: others than those of the transformers engine. When vLLM's engine dies, this process
    ends, so that Ray replaces the actor.

    Attributes:
        name: ``vllm``.
        version: The versions of the packages that shape its answers.
        concurrent: Several threads may call ``answer`` at once.
    """

    name = "vllm"
    concurrent = True

    def __init__(
        self,
        checkpoint: Path,
        entry: ModelEntry,
        *,
        threads: int | None = None,
        adapters: Mapping[str, Path] | None = None,
    ) -> None:
        """Load the checkpoint and start vLLM's processes.

        Args:
            checkpoint: Folder with a configuration, a tokenizer (and a processor) and safetensors weights.
            entry: The registry's entry: dtype, prompt template, limits, tensor parallelism.
            threads: CPU threads with which the model computes; None leaves vLLM's choice.
            adapters: Folders of LoRA adapters by name; ``Request.adapter`` chooses.

        Raises:
            ConfigurationError: vLLM is not installed, it cannot decode as the entry says, or as for the transformers
                engine.
        """
        device = choose_device(None)
        check_vllm(entry, on_gpu=device.type == "cuda")
        self.version = vllm_version()
        self._dtype = choose_dtype(entry.dtype, device)
        self._decoding = entry.decoding
        self._frame = load_frame(checkpoint, entry)
        self._labels = LabelWords(self._frame.tokenizer)
        self._examples: dict[int, tuple[Picture, _Shown]] = {}
        self._numbers = itertools.count()
        set_environment(entry, threads, on_gpu=device.type == "cuda")
        options = engine_options(
            checkpoint, entry, self._frame, dtype=self._dtype, on_gpu=device.type == "cuda", adapters=adapters or {}
        )
        self._adapters = lora_requests(adapters or {})
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True).start()
        self._companions = Companions()
        with self._companions.starting():
            self._llm: Any = self._run(_open(options)).result()
        self._gpus = _watch_gpus() if device.type == "cuda" else None
        self._room = asyncio.Semaphore(WAITING_PER_RUNNING * self._llm.vllm_config.scheduler_config.max_num_seqs)

    @property
    def dtype(self) -> str:
        """``bfloat16``, ``float16`` or ``float32``: what the weights and sums are in."""
        return self._dtype

    @property
    def gpu(self) -> str | None:
        """Name of the GPU that vLLM's processes compute on; None without one."""
        return self._gpus.name if self._gpus else None

    @property
    def gpu_peak_bytes(self) -> int | None:
        """The most memory that was taken on its GPUs whenever this was asked; None without one."""
        return self._gpus.peak_bytes if self._gpus else None

    def close(self) -> None:
        """End vLLM's processes."""
        self._run(_end_tasks()).result()  # else one logs that the engine has died
        self._llm.shutdown()
        self._companions.close()
        self._llm = None  # else it shuts down once more when the interpreter ends, and complains
        self._loop.call_soon_threadsafe(self._loop.stop)

    def answer(self, posts: Sequence[PreparedPost]) -> Iterator[Answer]:
        """Answer every request of every post exactly once, as each is finished; see ``Engine.answer``."""
        done: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        self._run(self._answer_all(posts, done))
        for _ in range(sum(len(post.requests) for post in posts)):
            answered = done.get()
            if isinstance(answered, BaseException):
                raise answered
            yield answered

    def _run(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _answer_all(self, posts: Sequence[PreparedPost], done: queue.SimpleQueue[Answer | BaseException]) -> None:
        under_way: set[asyncio.Task[None]] = set()
        for post_index, post in enumerate(posts):
            own = None if post.image is None else _show(post.image, post.image_sha256)
            for request_index, request in enumerate(post.requests):
                await self._room.acquire()
                work = self._answer_one((post_index, request_index), request, own, done)
                task = asyncio.create_task(work)
                under_way.add(task)  # the loop itself keeps no hold of a task
                task.add_done_callback(under_way.discard)

    async def _answer_one(
        self,
        place: tuple[int, int],
        request: Request,
        own: _Shown | None,
        done: queue.SimpleQueue[Answer | BaseException],
    ) -> None:
        try:
            done.put(await self._answer_request(place, request, own))
        except BaseException as error:  # else whoever waits for the answer waits for ever
            done.put(error)
        finally:
            self._room.release()

    async def _answer_request(self, place: tuple[int, int], request: Request, own: _Shown | None) -> Answer:
        started = time.perf_counter()
        try:
            text, token_ids = self._frame.read(request, has_picture=own is not None)
            self._check_length(len(token_ids), request)
            prompt = self._prompt(request, token_ids, own)
            labels = self._labels.tokens(text, request.labels) if request.labels else {}
            first = _followers(labels, ())
            served = await self._generate(prompt, request, request.max_new_tokens, first, self._sampling(request, own))
            self._check_length(served.prompt_tokens, request)
            output, length, ended = self._frame.decode(served.tokens)
            scores = await self._label_scores(prompt, request, labels, served.first) if labels else None
        except Exception as error:
            self._end_if_dead(error)
            message = f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS]
            return Answer(*place, output=None, error=message, finish_reason="error")
        return Answer(
            *place,
            output=output,
            finish_reason="stop" if ended else "length",
            prompt_tokens=served.prompt_tokens,
            output_tokens=length,
            cached_tokens=served.cached_tokens,
            latency_s=time.perf_counter() - started,
            label_scores=scores,
            token_ids=tuple(served.tokens),
        )

    def _prompt(self, request: Request, token_ids: list[int], own: _Shown | None) -> dict[str, Any]:
        prompt: dict[str, Any] = {"prompt_token_ids": token_ids}
        if request.with_image and own is not None:
            shown = [*map(self._example, request.example_pictures), own]
            prompt["multi_modal_data"] = {"image": [picture.image for picture in shown]}
            prompt["multi_modal_uuids"] = {"image": [picture.digest for picture in shown]}
        return prompt

    def _example(self, pixels: Picture) -> _Shown:
        if id(pixels) not in self._examples:  # kept beside it, so that no other picture gets the same id
            self._examples[id(pixels)] = pixels, _show(pixels)
        return self._examples[id(pixels)][1]

    def _check_length(self, prompt_tokens: int, request: Request) -> None:
        """Refuse what vLLM would cut: an answer that its context may have no room for."""
        context: int = self._llm.model_config.max_model_len
        check_length(prompt_tokens, request.max_new_tokens, context, len(request.example_pictures))

    def _end_if_dead(self, error: Exception) -> None:
        """End the process where vLLM's engine has died, at once: clean-up may hang. Ray replaces the actor."""
        if self._llm.errored:
            print(f"vLLM's engine is dead, its process ends: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    def _sampling(self, request: Request, own: _Shown | None) -> Mapping[str, Any]:
        """Return the arguments of ``SamplingParams`` by which a request's tokens are chosen."""
        how = self._decoding
        if not how.samples:
            return GREEDY
        seed = request_seed(how.seed, request, None if own is None else own.digest)
        return {"temperature": how.temperature, "top_p": how.top_p, "top_k": how.top_k, "seed": seed}

    async def _generate(
        self,
        prompt: Mapping[str, Any],
        request: Request,
        max_tokens: int,
        wanted: Sequence[int],
        sampling: Mapping[str, Any],
    ) -> Served:
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.sampling_params import RequestOutputKind

        parameters = SamplingParams(
            **sampling,
            max_tokens=max_tokens,
            stop_token_ids=sorted(self._frame.end_token_ids),
            logprob_token_ids=list(wanted) or None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        chosen = {"lora_request": self._adapters[request.adapter]} if request.adapter else {}
        try:
            outputs = self._llm.generate(prompt, parameters, f"r{next(self._numbers)}", **chosen)
            (last,) = [output async for output in outputs]
        except (ValueError, VLLMValidationError) as error:
            raise PromptError(str(error)) from error  # with its pictures longer than the context, say
        answer = last.outputs[0]
        found = answer.logprobs[0] if answer.logprobs else {}
        first = {token: found[token].logprob for token in wanted}
        return Served(list(answer.token_ids), len(last.prompt_token_ids), last.num_cached_tokens or 0, first)

    async def _label_scores(
        self, prompt: Mapping[str, Any], request: Request, labels: LabelTokens, first: Mapping[int, float]
    ) -> LabelScores | None:
        """Return the labels' probabilities: a short request for each beginning that several tokens can follow."""
        found: dict[tuple[int, ...], Mapping[int, float]] = {(): first}
        for beginning in sorted({tokens[:place] for tokens in labels.values() for place in range(1, len(tokens))}):
            longer = {**prompt, "prompt_token_ids": [*prompt["prompt_token_ids"], *beginning]}
            found[beginning] = (await self._generate(longer, request, 1, _followers(labels, beginning), GREEDY)).first
        return shares(
            {
                label: sum(found[tokens[:place]][token] for place, token in enumerate(tokens))
                for label, tokens in labels.items()
            }
        )


@dataclass(frozen=True)
class _Shown:
    """A picture as vLLM takes it, and what tells it from all others."""

    image: Image.Image
    digest: str


def _show(pixels: Picture, file_sha256: str | None = None) -> _Shown:
    """Name a picture by its file, of which an engine sees one size only; by its pixels where that is not known."""
    if file_sha256 is None:
        digest = hashlib.sha256(repr(pixels.shape).encode())
        digest.update(pixels.tobytes())
        file_sha256 = digest.hexdigest()
    return _Shown(Image.fromarray(pixels), file_sha256)


def _followers(labels: LabelTokens, beginning: tuple[int, ...]) -> list[int]:
    """Return the tokens with which a label's word goes on after a beginning."""
    place = len(beginning)
    return sorted({word[place] for word in labels.values() if len(word) > place and word[:place] == beginning})


def _watch_gpus() -> WatchedGpus | None:
    """Watch the GPUs of this process; None where NVML does not know them (a driver's fault ends no engine)."""
    from vllm.utils.import_utils import import_pynvml

    library = import_pynvml()
    try:
        return WatchedGpus(library)
    except library.NVMLError:
        return None


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _open(options: Mapping[str, Any]) -> Any:
    """Start vLLM; inside the loop that its answers come to."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**options))
