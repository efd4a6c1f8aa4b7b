"""Tagging: the topics of a video, from its title, description and thumbnail."""

from mmsoc_ray.tasks.metric_names import TAGGING_METRICS
from mmsoc_ray.tasks.parsing import TagParser
from mmsoc_ray.tasks.task import Task

TAGGING = Task(
    name="tagging",
    kind="tagging",
    prompt=(
        "Predict the tags of the following online video given its title, description, and thumbnail image. "
        'Different tags must be separated by commas. For example, "sports,tennis,french-open"'
    ),
    parse=TagParser(),
    metrics=TAGGING_METRICS,
    max_new_tokens=64,
    uses_text=True,
    description="Predicts the tags of an online video from its title, description and thumbnail.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; YouTube2M",
)
