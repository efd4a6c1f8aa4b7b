"""A checkpoint's processor for pictures and text.

Many processors also take videos, and the library builds that part with torchvision only (SmolVLM's: with num2words
too). No post holds a video, so the part is left out: pictures and prompts come out the same, and such a checkpoint
runs where torchvision is not installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoProcessor, Idefics3Processor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

_WITH_VIDEOS = ["image_processor", "tokenizer", "video_processor"]

_SAME_PICTURES = {"SmolVLMProcessor": Idefics3Processor}
"""A processor that cannot be made without videos, and one that does the same to pictures and prompts."""


def load_processor(folder: Path, config: Any, **options: Any) -> Any:
    """Return the processor of a checkpoint folder, without its part for videos.

    Args:
        folder: The checkpoint.
        config: Its configuration, from which the library knows the class of the processor.
        options: For the library's ``from_pretrained``.

    Raises:
        ImportError: The library wants a package for it that is not installed.
    """
    chosen: Any = PROCESSOR_MAPPING.get(type(config), None)
    if chosen is not None and chosen.__name__ in _SAME_PICTURES:
        chosen = _SAME_PICTURES[chosen.__name__]
    elif chosen is not None and chosen.get_attributes() == _WITH_VIDEOS:
        chosen = _without_videos(chosen)
    else:
        chosen = AutoProcessor
    return chosen.from_pretrained(folder, **options)


def _without_videos(processor_class: Any) -> Any:
    """Return a subclass that neither loads nor wants a video processor."""
    attributes = classmethod(lambda cls: _WITH_VIDEOS[:-1])
    return type(processor_class.__name__, (processor_class,), {"get_attributes": attributes})
