"""Training on Ray Train: the projector of the demo's multimodal model."""

from mmsoc_ray.training.projector import HeldOut, ProjectorConfig, TrainedProjector, train_projector
from mmsoc_ray.training.projector_card import write_projector

__all__ = ["HeldOut", "ProjectorConfig", "TrainedProjector", "train_projector", "write_projector"]
