"""Image description: what a picture shows.

MM-Soc's earlier code (5ab879a) wants a text length for all that it asks about news and videos; how a text would enter
this prompt, which speaks of the scene alone, was not found, so none does.
"""

from mmsoc_ray.tasks.metric_names import FREE_TEXT_METRICS
from mmsoc_ray.tasks.parsing import FreeTextParser
from mmsoc_ray.tasks.task import Task

IMAGE_DESCRIPTION = Task(
    name="image_description",
    kind="free_text",
    prompt="Describe the scene, such as its major subjects, colors, and texture.",
    parse=FreeTextParser(),
    metrics=FREE_TEXT_METRICS,
    max_new_tokens=128,
    description="Describes the scene of a picture.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py, topic Description; references by GPT-4V as far as known",
)
