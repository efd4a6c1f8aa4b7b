"""Training on Ray Train: the projector of the demo's multimodal model."""
