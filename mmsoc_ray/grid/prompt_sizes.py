"""How many tokens a question takes where no run has measured it: from the registry, the prompt and the data's texts."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow.parquet as pq

from mmsoc_ray.data import Post, SplitManifest, Storage
from mmsoc_ray.data.shards import split_folder
from mmsoc_ray.grid.plan import Question
from mmsoc_ray.models import ModelEntry, picture_tokens
from mmsoc_ray.tasks import base_setting, render, shots, shows_picture

CHARACTERS_PER_TOKEN = 4
"""Of English text, as OpenAI's help page on tokens says; other scripts have fewer."""


@dataclass(frozen=True)
class TextSizes:
    """Mean characters of a post's texts.

    Attributes:
        text: What the poster wrote.
        transcription: The words in the picture.
    """

    text: int = 0
    transcription: int = 0


def text_sizes(data: Storage, manifest: SplitManifest) -> TextSizes:
    """Return about how long the texts of a split are: what the first unit's columns take, read off its shard's end."""
    with data.open_input(f"{split_folder(manifest.dataset, manifest.split)}/{manifest.shards[0].file}") as handle:
        unit = pq.ParquetFile(handle).metadata.row_group(0)
    columns = [unit.column(number) for number in range(unit.num_columns)]
    sizes = {column.path_in_schema: column.total_uncompressed_size // max(1, unit.num_rows) for column in columns}
    return TextSizes(sizes.get("text", 0), sizes.get("transcription", 0))


def prompt_tokens(question: Question, entry: ModelEntry, texts: TextSizes) -> float | None:
    """Return about how many tokens the prompt of a request takes, over all its rounds; None where not known."""
    sees = entry.sees_pictures and shows_picture(question.setting)
    a_picture = picture_tokens(entry) if sees else 0
    if a_picture is None:
        return None
    post = Post("", "", "", text="x" * texts.text, transcription="x" * texts.transcription)
    shown_as = base_setting(question.setting, sees_pictures=entry.sees_pictures)
    words = "x" * texts.transcription
    characters = len(render(question.definition, post, shown_as, variant=question.variant, words=words))
    examples = shots(question.setting)
    pictures = 1 + (examples if entry.several_pictures else 0)
    tokens = a_picture * pictures + characters * (1 + examples) / CHARACTERS_PER_TOKEN
    # Every round but the first is shown the answer before it, and the question again.
    asked_again = question.max_new_tokens + len(question.definition.question(question.variant)) / CHARACTERS_PER_TOKEN
    return tokens + asked_again * (question.rounds - 1) / question.rounds
