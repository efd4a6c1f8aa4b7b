"""What a model learns to say: the right answer of a post, why it is right, or both, in a stated template."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from mmsoc_ray.config import Recipe
from mmsoc_ray.config.recipe import Target
from mmsoc_ray.data import Storage, open_storage, split_folder
from mmsoc_ray.data.explanations import EXPLANATIONS_FILE
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.models.digests import json_digest

SAMPLE_FORMAT = 1
"""Version of the code that turns posts into tokens and masks; to be raised with every change after which the same post
may give another sample. It enters the names of adapters, so that no old one is taken for a new one."""

TEMPLATES: Mapping[Target, str] = {
    "answer": "{answer}",
    "answer_and_explanation": "{answer}\nExplanation: {explanation}",
    "explanation": "{explanation}",
    "shuffled_explanation": "{answer}\nExplanation: {explanation}",
}
"""Target to its text. The answer comes first, so that a short limit of an answer cuts the explanation and not the
answer. MM-Soc's template was not found; these are ours."""

COLUMNS = ("post_key", "task", "explanation")
"""Columns of a file of explanations that are read; others, such as ``source``, may stand beside them."""

PostTask = tuple[str, str]
"""``post_key`` and task."""
Explanations = Mapping[PostTask, str]


def target_text(target: Target, answer: str, explanation: str | None) -> str:
    """Return what a model learns to say.

    Args:
        target: Which template.
        answer: The right answer, in the words that the prompt asks for.
        explanation: Why it is right; needed by every target but ``answer``.

    Raises:
        ValueError: There is no explanation where the target has one.
    """
    if target != "answer" and not explanation:
        raise ValueError(f"the target {target} needs an explanation")
    return TEMPLATES[target].format(answer=answer, explanation=explanation)


def read_explanations(recipe: Recipe, data: Storage, splits: Iterable[tuple[str, str]]) -> dict[PostTask, str]:
    """Read why answers are right.

    Of several explanations of one pair of post and task the first counts; blank ones are passed over.

    Args:
        recipe: Says whether any are learnt, and where they are.
        data: Root of the datasets.
        splits: Dataset and split of those that are learnt.

    Returns:
        The explanations of those splits; none where the recipe learns none.

    Raises:
        ConfigurationError: A file is missing or is no file of explanations.
    """
    found: dict[PostTask, str] = {}
    if not recipe.explained:
        return found
    wanted = sorted(splits)
    if recipe.explanations is not None:
        folder, _, name = recipe.explanations.rpartition("/")
        tables = [_read(open_storage(folder or "."), name)]
    else:
        tables = [_read(data, f"{split_folder(*split)}/{EXPLANATIONS_FILE}") for split in wanted]
    for table in tables:
        for key, task, explanation in zip(*(table[name].to_pylist() for name in COLUMNS), strict=True):
            if not (key and explanation) or explanation.isspace():
                continue
            if tuple(PurePosixPath(key).parts[:2]) in wanted:
                found.setdefault((key, task), explanation.strip())
    return found


def shuffled(explanations: Explanations, seed: int) -> dict[PostTask, str]:
    """Give each pair of post and task the explanation of another post of the same task; a lone post keeps its own.

    The pairs of a task stand in a circle in the order of SHA-256 of ``<seed>|<task>|<post_key>``; each gets the
    explanation of the next.
    """
    circles: dict[str, list[PostTask]] = defaultdict(list)
    for pair in explanations:
        circles[pair[1]].append(pair)
    exchanged = {}
    for task, pairs in circles.items():
        pairs.sort(key=lambda pair: hashlib.sha256(f"{seed}|{task}|{pair[0]}".encode()).digest())
        for place, pair in enumerate(pairs):
            exchanged[pair] = explanations[pairs[(place + 1) % len(pairs)]]
    return exchanged


def explanations_digest(explanations: Explanations) -> str:
    """Return the SHA-256 over explanations, whatever files they came from and in which order."""
    rows = sorted([*pair, text] for pair, text in explanations.items())
    return json_digest(rows)


def _read(storage: Storage, path: str) -> pa.Table:
    address = f"{storage.uri}/{path}"
    try:
        with storage.open_input(path) as handle:
            table = pq.ParquetFile(handle).read(columns=list(COLUMNS))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{address} does not exist. Write explanations with jobs/explain.py, or name their file in the recipe's "
            f"field explanations, or learn the target answer."
        ) from error
    except pa.ArrowException as error:
        raise ConfigurationError(f"{address} is no Parquet file of explanations: {error}") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing or any(not pa.types.is_string(table.schema.field(name).type) for name in COLUMNS):
        raise ConfigurationError(f"{address} needs the text columns {', '.join(COLUMNS)}; it has {table.schema.names}.")
    return table
