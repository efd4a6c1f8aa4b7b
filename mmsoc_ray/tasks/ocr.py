"""OCR: the words in a picture."""

from mmsoc_ray.tasks.metric_names import OCR_METRICS
from mmsoc_ray.tasks.parsing import QuotedTextParser
from mmsoc_ray.tasks.task import Task

OCR = Task(
    name="ocr",
    kind="ocr",
    prompt="What is the text in the image? Use double quotes to enclose your answer.",
    parse=QuotedTextParser(),
    metrics=OCR_METRICS,
    max_new_tokens=128,
    description="Reads the words in a picture.",
    source="MM-Soc (arXiv 2402.14154), mmsoc/const.py; Memotion's corrected transcriptions",
)
