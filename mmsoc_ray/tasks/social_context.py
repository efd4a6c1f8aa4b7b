"""Social context description: the cultural and social context of a picture.

As in ``image_description``, no text of the post enters the prompt: it speaks of the image alone.
"""

from mmsoc_ray.tasks.metric_names import FREE_TEXT_METRICS
from mmsoc_ray.tasks.parsing import FreeTextParser
from mmsoc_ray.tasks.task import Task

SOCIAL_CONTEXT = Task(
    name="social_context",
    kind="free_text",
    prompt="Describe the cultural and social context of the image.",
    parse=FreeTextParser(),
    metrics=FREE_TEXT_METRICS,
    max_new_tokens=128,
    description="Describes the cultural and social context of a picture.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py, topic Social_Context; references by GPT-4V as far as known",
)
