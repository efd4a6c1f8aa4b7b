"""Which cells of a plan earlier runs hold the answers of, told from their plans: no answer is read, no key computed."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmsoc_ray.data import Storage
from mmsoc_ray.engines import engine_version
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.answerer import Answerer, fit_digests, question_content
from mmsoc_ray.grid.plan import ModelPlan, Question
from mmsoc_ray.grid.record import RecordedModel, RunRecord, read_record
from mmsoc_ray.grid.reuse import READERS, ReusePolicy
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.seal import missing_units
from mmsoc_ray.models import known_digest, locate_weights
from mmsoc_ray.tasks import shots


@dataclass(frozen=True)
class Known:
    """What an earlier run holds of a cell.

    Attributes:
        posts: Posts of the cell that it has answered.
        run_id: The run.
        sure: Whether weights and few-shot examples are known to be the same; else only a run will tell.
    """

    posts: int
    run_id: str
    sure: bool


class KnownCells:
    """Looks up what earlier runs hold of a model's cells.

    Args:
        root: Output root.
        policy: Which answers may be taken over.
        note: Told of each plan that cannot be read.
    """

    def __init__(self, root: Storage, policy: ReusePolicy, note: Callable[[str], None]) -> None:
        self._root, self._policy = root, policy
        run_ids = root.list_folders("runs") if policy is not ReusePolicy.none else []
        folders = [RunFolder(run_id) for run_id in run_ids if RunFolder.is_run_id(run_id)]
        with ThreadPoolExecutor(READERS) as pool:
            records = pool.map(lambda folder: _record(root, folder, note), folders)
            runs = [(folder, record) for folder, record in zip(folders, records, strict=True) if record is not None]
        # Ids that end in a date stand with the newest last, which most likely holds all.
        self._runs = [(folder, model) for folder, record in reversed(runs) for model in record.models]

    def of(self, plan: ModelPlan, *, seed: int, weights: str | None) -> dict[Question, Known]:
        """Return what is known of the questions of a model; those of which nothing is stand not in it.

        Args:
            plan: The model's part of the grid.
            seed: Seed of the ``random`` baseline.
            weights: Root of the pulled weights, where the grid names one.
        """
        answerer = _answerer(plan, seed=seed, weights=weights)
        version = engine_version(plan.entry)
        if self._policy is ReusePolicy.same_version and version is None:
            return {}
        wanted = version if self._policy is ReusePolicy.same_version else None
        known: dict[Question, Known] = {}
        for folder, model in self._runs:
            questions = [
                question
                for question in plan.questions
                if (question not in known or known[question].posts < plan.posts(question.dataset))
                and _same(plan, answerer, question, model)
            ]
            posts = self._answered(folder, model, wanted) if questions else {}
            for question in questions:
                there = min(plan.posts(question.dataset), posts.get(question.dataset, 0))
                if there > (known[question].posts if question in known else 0):
                    known[question] = Known(there, folder.run_id, _sure(plan, answerer, question))
        return known

    def _answered(self, folder: RunFolder, model: RecordedModel, version: str | None) -> Mapping[str, int]:
        """Return the posts of each dataset that a run has answered; none where another engine version has."""
        present = self._root.list_files(folder.predictions(model.name, model.config))
        missing = set(missing_units(present, [unit.unit_id for unit in model.units]))
        if version is not None and version not in (versions := self._versions(present)) and versions:
            return {}
        posts: dict[str, int] = {}
        for unit in model.units:
            if unit.unit_id not in missing:
                posts[unit.dataset] = posts.get(unit.dataset, 0) + unit.posts
        return posts

    def _versions(self, paths: Sequence[str]) -> set[str]:
        """Return the versions of the engines that answered the first unit."""
        for path in paths[:1]:
            try:
                column = pq.read_table(io.BytesIO(self._root.read(path)), columns=["engine_version"]).column(0)
            except (OSError, pa.ArrowException):
                continue
            return set(pc.unique(column.drop_null()).to_pylist())
        return set()


def _record(root: Storage, folder: RunFolder, note: Callable[[str], None]) -> RunRecord | None:
    if not root.exists(folder.plan):
        return None
    try:
        return read_record(root, folder)
    except ConfigurationError as error:
        note(f"not looked at: {error}")
        return None


def _sure(plan: ModelPlan, answerer: Answerer, question: Question) -> bool:
    return not shots(question.setting) and (bool(answerer.model_digest) or not plan.entry.loads_weights)


def _answerer(plan: ModelPlan, *, seed: int, weights: str | None) -> Answerer:
    """Return what answers, as far as it is known without reading weights or asking the hardware."""
    entry, fit = plan.entry, fit_digests(plan)
    if not entry.loads_weights:
        return Answerer(entry, dtype=None, model_digest="", fit=fit, seed=seed)
    if weights is not None:
        try:
            entry = locate_weights(entry, weights)
        except ConfigurationError:  # a run says what is missing; the plan goes without
            return Answerer(entry, dtype=None, model_digest="", fit=fit, seed=seed)
    return Answerer(
        entry,
        dtype=entry.dtype_on(plan.resources.gpus),
        model_digest=known_digest(entry) or "",
        fit=fit,
        seed=seed,
        adapters={adapter.name: adapter.digest for adapter in plan.adapters},
        merged=plan.merged,
    )


def _same(plan: ModelPlan, answerer: Answerer, question: Question, model: RecordedModel) -> bool:
    """Whether an earlier run asked a question on the same posts of the same model, as far as that is known."""
    there = model.configuration["datasets"].get(question.dataset)
    if there is None or there["digest"] != plan.datasets[question.dataset].digest:
        return False
    content = answerer.content(question.dataset)
    if plan.entry.loads_weights:
        content |= {name: there["answerer"].get(name) for name in ("model_digest", "dtype") if not content[name]}
    return content == there["answerer"] and any(_asks(question, asked) for asked in model.configuration["questions"])


def _asks(question: Question, asked: Mapping[str, Any]) -> bool:
    # Which examples a few-shot question shows is chosen when a run is opened; the seed and the fit split decide.
    examples = {"examples", "example_images", "places"} if shots(question.setting) else set()
    return question_content(question) == {name: value for name, value in asked.items() if name not in examples}
