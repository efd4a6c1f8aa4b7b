"""Models: what a grid can name, and from where its weights come."""

from mmsoc_ray.models.answerable import answerable, can_answer
from mmsoc_ray.models.checkpoints import checkpoint_digest, known_digest, resolve_checkpoint
from mmsoc_ray.models.digests import model_digest
from mmsoc_ray.models.entry import Dtype, Endpoint, EngineName, ModelEntry
from mmsoc_ray.models.packaged import CheckpointError
from mmsoc_ray.models.picture_tokens import picture_tokens
from mmsoc_ray.models.registry import UnknownModelError, get_model, model_names
from mmsoc_ray.models.weights import PulledWeights, checkpoint_address, locate_weights

__all__ = [
    "CheckpointError",
    "Dtype",
    "Endpoint",
    "EngineName",
    "ModelEntry",
    "PulledWeights",
    "UnknownModelError",
    "answerable",
    "can_answer",
    "checkpoint_address",
    "checkpoint_digest",
    "get_model",
    "known_digest",
    "locate_weights",
    "model_digest",
    "model_names",
    "picture_tokens",
    "resolve_checkpoint",
]
