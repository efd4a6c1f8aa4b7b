"""Re-evaluates multimodal language models on social-media tasks, on Ray, with honest statistics."""

__version__ = "0.1.0"
