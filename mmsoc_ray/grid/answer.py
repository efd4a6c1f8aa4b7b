"""The work of an engine actor: a prepared unit becomes predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmsoc_ray.data import SplitManifest, Storage, read_targets, read_texts
from mmsoc_ray.engines import Answer, Engine, PreparedPost, fit_baseline, open_engine
from mmsoc_ray.engines.protocol import Picture
from mmsoc_ray.grid.answerer import Answerer
from mmsoc_ray.grid.plan import BASE_ADAPTER
from mmsoc_ray.grid.rounds import next_round
from mmsoc_ray.grid.wire import PreparedUnit
from mmsoc_ray.models import model_digest, resolve_checkpoint
from mmsoc_ray.models.cache import cache_folder, cached_folder
from mmsoc_ray.results.schema import PREDICTION_SCHEMA
from mmsoc_ray.tasks import TASKS, Task
from mmsoc_ray.training import fetch_adapter, find_card


class UnitAnswerer:
    """Holds a loaded model and answers unit after unit.

    Args:
        run_id: The run.
        answerer: The model, as the plan resolved it.
        engines: The engine for a dataset (a baseline has one for each); None where every answer is known.
        example_pictures: Decoded example pictures by the digest of their files.
    """

    def __init__(
        self,
        run_id: str,
        answerer: Answerer,
        engines: Mapping[str, Engine] | None,
        example_pictures: Mapping[str, Picture] | None = None,
    ) -> None:
        self._run_id = run_id
        self._answerer = answerer
        self._engines = engines
        self._example_pictures = example_pictures or {}

    @property
    def engine(self) -> Engine | None:
        """One of its engines; None where it has none."""
        return next(iter(self._engines.values()), None) if self._engines else None

    def __call__(self, unit: PreparedUnit) -> pa.Table:
        """Return the predictions of a unit: a row of ``PREDICTION_SCHEMA`` per request, none missing, none twice.

        Requests of self-improvement have a row for each of their rounds.

        Raises:
            RuntimeError: Where the engine leaves a request out or answers it twice.
        """
        said: dict[str, Answer] = {}
        rows = asked = self._ask(unit, said)
        requests = unit.requests
        while requests := tuple(next_round(self._answerer, requests, asked)):
            asked = self._ask(dataclasses.replace(unit, requests=requests), said)
            rows = rows + asked
        created_at = datetime.now(UTC)
        for row in rows:
            row.update(
                run_id=self._run_id,
                unit_id=unit.unit_id,
                model=self._answerer.entry.name,
                created_at=created_at,
            )
        return pa.Table.from_pylist(rows, schema=PREDICTION_SCHEMA)

    def _ask(self, unit: PreparedUnit, said: dict[str, Answer]) -> list[dict[str, Any]]:
        """Answer the requests of one round, a row each.

        Args:
            unit: The unit, with the requests of the round.
            said: What was answered in the rounds before, by key; takes what is answered in this one.
        """
        rows = [_row(request, unit.known_answer(request)) for request in unit.requests]
        engine = None if self._engines is None else self._engines[unit.requests[0]["dataset"]]
        if engine is not None:
            posts, positions = unit.askable(self._example_pictures, merged=self._answerer.merged, answered=said)
            answers = _answers(engine, posts, positions) if posts else ()
            said.update((unit.requests[position]["row_key"], answer) for position, answer in answers)
            for position in unit.unanswered():
                request = unit.requests[position]
                rows[position].update(_columns(said[request["row_key"]], request["positive"]))
        for row in rows:
            if engine is not None and row["reused_from"] is None:
                row["engine"], row["engine_version"] = engine.name, engine.version
        return rows


def _row(request: Mapping[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the row of a request, with the answer that is known or with none."""
    kept = ("setting", "task", "dataset", "split", "post_key", "sample_id", "round", "row_key", "image_sha256")
    row: dict[str, Any] = {name: request[name] for name in (*kept, "prompt", "reference", "error")}
    row["adapter"] = request["adapter"] or BASE_ADAPTER
    row.update(finish_reason="error", prompt_tokens=0, cached_tokens=0, output_tokens=0, latency_s=0.0)
    if known is not None:
        row.update(known, score=_score(known["label_scores"], request["positive"]))
    return {"reused_from": None, **row}


def _answers(
    engine: Engine, posts: Sequence[PreparedPost], positions: Sequence[Sequence[int]]
) -> Iterator[tuple[int, Answer]]:
    left = {(post, request): position for post, asked in enumerate(positions) for request, position in enumerate(asked)}
    for answer in engine.answer(posts):
        position = left.pop((answer.post_index, answer.request_index), None)
        if position is None:
            raise RuntimeError(
                f"engine {engine.name} answered request {answer.request_index} of post {answer.post_index} twice, "
                f"or it was not asked"
            )
        yield position, answer
    if left:
        raise RuntimeError(f"engine {engine.name} left {len(left)} of its requests without an answer")


def _columns(answer: Answer, positive: str | None) -> dict[str, Any]:
    scores = answer.label_scores
    return {
        "output": answer.output,
        "error": answer.error,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "cached_tokens": answer.cached_tokens,
        "output_tokens": answer.output_tokens,
        "latency_s": answer.latency_s,
        "label_scores": None if scores is None else sorted(scores.items()),
        "score": _score(scores, positive),
    }


def _score(scores: Mapping[str, float] | Sequence[tuple[str, float]] | None, positive: str | None) -> float | None:
    return None if scores is None or positive is None else dict(scores).get(positive)


def open_answerer(
    run_id: str,
    answerer: Answerer,
    data: Storage,
    fit: Mapping[str, Any],
    *,
    threads: int | None,
    tasks: Mapping[str, Task] = TASKS,
    example_pictures: Mapping[str, Picture] | None = None,
    root: Storage | None = None,
    evaluated: Mapping[str, SplitManifest] | None = None,
    prompts: Mapping[str, str] | None = None,
) -> UnitAnswerer:
    """Load the model of an actor, on the node where the actor runs.

    Args:
        run_id: The run.
        answerer: The model, as the plan resolved it.
        data: Root of the datasets, to fit a baseline.
        fit: For a baseline: dataset to the manifest of the split that it is fitted on.
        threads: Threads with which an engine on the CPU computes.
        tasks: For a baseline: the tasks that it is asked, by name.
        example_pictures: Decoded example pictures by the digest of their files.
        root: Output root, which holds the adapters; None where none answers.
        evaluated: For ``tfidf_logreg``: dataset to the manifest of the split that is evaluated.
        prompts: For ``tfidf_logreg``: task to the question that ends its prompts; by default its own.

    Raises:
        RuntimeError: Where the checkpoint on this node, or an adapter, is another than the planned one.
    """
    entry = answerer.entry
    if entry.engine == "baseline":
        engines = (
            _tfidf(data, fit, tasks, prompts or {}, evaluated or {})
            if entry.name == "tfidf_logreg"
            else _baselines(answerer, data, fit, tasks)
        )
        return UnitAnswerer(run_id, answerer, engines)
    if entry.engine == "endpoint":
        return UnitAnswerer(run_id, answerer, _SameForAll(open_engine(entry)), example_pictures)
    checkpoint = resolve_checkpoint(entry)
    found = model_digest(checkpoint)
    if found != answerer.model_digest:
        raise RuntimeError(
            f"{checkpoint} on this node has the digest {found[:12]}, the run was planned with "
            f"{answerer.model_digest[:12]}: bring the same checkpoint to every node; one that was pulled has changed "
            f"since, pull it again"
        )
    planned = answerer.adapters.items()
    adapters = {name: fetch_planned(root, name, digest) for name, digest in planned} if root is not None else {}
    if answerer.merged:
        checkpoint, adapters = merged_checkpoint(checkpoint, answerer, adapters), {}
    entry = dataclasses.replace(entry, dtype=answerer.dtype or "auto")
    engine = open_engine(entry, checkpoint, threads=threads, adapters=adapters)
    return UnitAnswerer(run_id, answerer, _SameForAll(engine), example_pictures)


def _baselines(
    answerer: Answerer, data: Storage, fit: Mapping[str, SplitManifest], tasks: Mapping[str, Task]
) -> dict[str, Engine]:
    answers = {name: task.answers for name, task in tasks.items() if task.kind == "classification"}
    kinds = {name: task.kind for name, task in tasks.items()}
    return {
        dataset: open_engine(
            answerer.entry,
            fit=fit_baseline(read_targets(data, manifest)),
            answers=answers,
            kinds=kinds,
            seed=answerer.seed,
        )
        for dataset, manifest in fit.items()
    }


def _tfidf(
    data: Storage,
    fit: Mapping[str, SplitManifest],
    tasks: Mapping[str, Task],
    prompts: Mapping[str, str],
    evaluated: Mapping[str, SplitManifest],
) -> dict[str, Engine]:
    from mmsoc_ray.engines.tfidf import TfidfEngine

    questions = {name: prompts.get(name, task.prompt) for name, task in tasks.items()}
    apart = {name: read_texts(data, manifest) for name, manifest in evaluated.items()}
    return {
        dataset: TfidfEngine(read_texts(data, manifest), tasks, questions, apart.get(dataset, ()))
        for dataset, manifest in fit.items()
    }


def fetch_planned(root: Storage, name: str, digest: str) -> Path:
    """Bring an adapter to this node.

    Raises:
        RuntimeError: It is another than the planned one.
    """
    card = find_card(root, name)
    if card.digest != digest:
        raise RuntimeError(
            f"adapter {name} below {root.uri} has the digest {card.digest[:12]}, the run was planned with "
            f"{digest[:12]}: it was trained again since; start the run under another id"
        )
    return fetch_adapter(root, card)


def merged_checkpoint(checkpoint: Path, answerer: Answerer, adapters: Mapping[str, Path]) -> Path:
    """Return a checkpoint with the only adapter merged into it, made once per node."""
    ((name, folder),) = adapters.items()
    parts = f"{name}-{answerer.model_digest[:12]}-{answerer.adapters[name][:12]}"

    def export(destination: Path) -> None:
        from mmsoc_ray.training import export_adapter

        export_adapter(checkpoint, folder, destination)

    return cached_folder(cache_folder() / "merged" / parts, export)


class _SameForAll(dict[str, Engine]):
    """One engine for every dataset."""

    def __init__(self, engine: Engine) -> None:
        super().__init__({"": engine})

    def __missing__(self, dataset: str) -> Engine:
        return self[""]
