"""One entry of the model registry."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

EngineName = Literal["transformers", "vllm", "endpoint", "baseline"]
Dtype = Literal["bfloat16", "float16", "float32"]


BYTES: dict[Dtype, int] = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes of a parameter."""


@dataclass(frozen=True)
class Decoding:
    """How an answer is drawn from a model: greedy by default.

    Attributes:
        num_beams: Width of the beam search; 1 searches nothing.
        repetition_penalty: Divides the logits of tokens that the answer holds already; 1 is none. Tokens of the prompt
            are not penalised, so that neither padding nor the words of a post change an answer.
        length_penalty: Exponent of the length by which a beam's score is divided; without beams it does nothing.
        min_length: As transformers counts: the answer cannot end while prompt and answer together (in an
            encoder-decoder: the answer with its start token) are shorter.
        max_new_tokens: Answers are cut after so many tokens where the grid's task says nothing; None is the task's own.
        temperature: Divides the logits that tokens are sampled by; 0 samples nothing.
        top_p: Sampled are only the likeliest tokens that hold this share of the probability together; 1 is all.
        top_k: Sampled are only so many of the likeliest tokens, before ``top_p``; 0 is all.
        seed: Another seed samples other answers.

    Raises:
        ValueError: Its fields contradict each other.
    """

    num_beams: int = 1
    repetition_penalty: float = 1.0
    length_penalty: float = 1.0
    min_length: int = 0
    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples and self.num_beams > 1:
            raise ValueError(
                f"temperature {self.temperature:g} samples and num_beams {self.num_beams} searches. Set num_beams: 1 "
                f"to sample, or temperature: 0 to search"
            )
        idle = [name for name in ("top_p", "top_k", "seed") if getattr(self, name) != getattr(Decoding, name)]
        if idle and not self.samples:  # whoever sets it means to sample, and would pay for greedy answers
            raise ValueError(
                f"{idle[0]} {getattr(self, idle[0])} does nothing at temperature 0, which is greedy. Set a temperature "
                f"above 0, or remove it"
            )

    def content(self) -> dict[str, Any]:
        """Return what enters the keys of answers; the limit of an answer has its own place there."""
        defaults = asdict(Decoding())
        changed = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        changed.pop("max_new_tokens", None)
        return {"do_sample": self.samples, "num_beams": self.num_beams, **changed}

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn by chance."""
        return self.temperature > 0

    @property
    def is_greedy(self) -> bool:
        """Whether each token is the likeliest, with nothing penalised or barred."""
        return self.content() == Decoding().content()

    @property
    def unsampled(self) -> Decoding:
        """The same with nothing drawn by chance."""
        return replace(self, temperature=0.0, top_p=1.0, top_k=0, seed=0)

    @property
    def takes_logits_as_they_are(self) -> bool:
        """Whether tokens follow one by one from the model's own logits, nothing penalised, barred or searched."""
        return self.unsampled.is_greedy


@dataclass(frozen=True)
class VllmLimits:
    """What vLLM's engine may take for a model. None of it enters the keys of answers.

    Attributes:
        implementation: Whose code runs the model: ``vllm`` vLLM's own, ``transformers`` the library's inside vLLM;
            ``auto`` is vLLM's own wherever it has one that can be imported.
        memory_share: Of each GPU's memory, for weights and caches together.
        cpu_cache_gb: Memory for keys and values on a machine without a GPU, in GiB.
        context_tokens: Prompt and answer together cannot be longer; None is what the checkpoint says.
        sequences: Requests that run together; None is vLLM's choice for the GPU.
    """

    implementation: Literal["auto", "vllm", "transformers"] = "auto"
    memory_share: float = 0.9
    cpu_cache_gb: int = 1
    context_tokens: int | None = None
    sequences: int | None = None


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server that answers for a model.

    Attributes:
        url: What stands before ``/chat/completions``, for example ``http://host:8000/v1``.
        served_model: What the server calls the model; empty is the entry's name.
        api_key_env: Environment variable that holds the key; empty for none.
        concurrency: Requests under way at a time, per engine.
        requests_per_minute: Bound on the starts of requests, per engine; None is no bound.
    """

    url: str
    served_model: str = ""
    api_key_env: str = ""
    concurrency: int = 8
    requests_per_minute: float | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A model that a grid can name.

    Attributes:
        name: What a grid calls it, for example ``demo-llava``.
        family: Models that differ in size only share it.
        parameters_b: Parameters in billions. With three decimals counted on the architecture with the published sizes,
            otherwise as its authors or the checkpoint's name say.
        checkpoint: Folder, ``s3://`` address of pulled weights, ``demo:<name>`` for a model assembled from packages, or
            hub id; empty where there is none.
        revision: Pinned hub commit; None where the checkpoint is a folder or assembled, or where no revision is known
            here: it is then resolved by ``mmsoc models pull`` and recorded.
        engine: How it answers.
        sees_pictures: Whether pictures can be shown to it.
        several_pictures: Who says that it reads several pictures in one prompt: the examples of ``few_shot_<k>`` are
            then shown with their pictures. Empty where it takes one, or where that is not known: they are then texts.
        settings: Settings that it can answer.
        kinds: Kinds of tasks that it can answer; empty for all.
        dtype: ``auto`` is bfloat16 on GPUs and on CPUs with AMX, float32 on other CPUs, where bfloat16 is slower.
        prompt_template: ``chat`` uses the checkpoint's chat template; otherwise a format string with ``{image}`` and
            ``{prompt}``.
        batch_tokens: Bound on padded tokens of a batch (prompt beyond a shared prefix, and answer) in the transformers
            engine.
        max_picture_side: Pictures are downscaled to this before they reach the model (a preprocessing parameter).
        source: Where the defaults come from (model card, paper, our choice).
        decoding: How an answer is drawn.
        architecture: Class of transformers that loads the checkpoint; empty where none does.
        gpus: GPUs of 80 GB that one engine needs for the weights in bfloat16 and room to work; 0 for a small model.
        tensor_parallel: Over how many GPUs each layer is split.
        licence: Of the weights, as their card names it; empty where it is not known here.
        note: What a user has to know before using it.
        endpoint: Where the engine ``endpoint`` asks; a grid says it.
        vllm: What the engine ``vllm`` may take.
    """

    name: str
    family: str
    parameters_b: float
    engine: EngineName
    checkpoint: str = ""
    revision: str | None = None
    sees_pictures: bool = False
    several_pictures: str = ""
    settings: tuple[str, ...] = field(default=("zero_shot",))
    dtype: Dtype | Literal["auto"] = "auto"
    prompt_template: str = "chat"
    batch_tokens: int = 4096
    max_picture_side: int = 1024
    source: str = ""
    decoding: Decoding = Decoding()
    architecture: str = ""
    gpus: int = 0
    tensor_parallel: int = 1
    licence: str = ""
    note: str = ""
    endpoint: Endpoint | None = None
    vllm: VllmLimits = VllmLimits()
    kinds: tuple[str, ...] = ()

    @property
    def loads_weights(self) -> bool:
        """Whether its engine loads a checkpoint here."""
        return self.engine in ("transformers", "vllm")

    def dtype_on(self, gpus: float) -> Dtype | None:
        """Return the precision that it computes in with so many GPUs; None where the machine's CPU decides."""
        if self.dtype != "auto":
            return self.dtype
        return "bfloat16" if gpus else None

    def weights_gb(self, dtype: Dtype) -> float:
        """Return the memory of the weights in GB (10^9 bytes), computed from the parameters: a lower bound."""
        return self.parameters_b * BYTES[dtype]
