"""What a run's plan.json holds: enough to count, audit and score the run again without its grid or its data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmsoc_ray.config import TaskFile
from mmsoc_ray.data import Storage, unit_id, unit_posts
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.encoder import PinnedEncoder
from mmsoc_ray.grid.keys import digest
from mmsoc_ray.grid.plan import Cell, GridPlan, ModelPlan
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.scoring import scoring
from mmsoc_ray.tasks import FINETUNED, ParsePolicy, Task, base_setting, get_task, rounds

if TYPE_CHECKING:
    from mmsoc_ray.grid.run import PlannedModel

PLAN_VERSION = 2


@dataclass(frozen=True)
class RecordedUnit:
    """A unit as the plan counts it.

    Attributes:
        unit_id: Names the file of its predictions.
        dataset: Whose posts it holds.
        posts: How many.
        rows: Predictions: one for each post, question and round.
    """

    unit_id: str
    dataset: str
    posts: int
    rows: int


@dataclass(frozen=True)
class RecordedModel:
    """A model of a recorded run.

    Attributes:
        key: What tells it from the others of the run: its name, and the setting whose adapter is merged into it.
        name: Name of the model.
        family: For the results table.
        parameters_b: For the results table.
        config: Names the folder of its predictions.
        configuration: All that shapes them.
        units: Its units, in order.
        cells: Its cells, each with its number of posts.
        base_setting: The setting that its fine-tuned ones build on; None where it has none.
    """

    key: str
    name: str
    family: str
    parameters_b: float
    config: str
    configuration: Mapping[str, Any]
    units: tuple[RecordedUnit, ...]
    cells: Mapping[Cell, int]
    base_setting: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """A run as its plan.json tells it.

    Attributes:
        content: The file.
        run_id: The run.
        models: Its models.
    """

    content: Mapping[str, Any]
    run_id: str
    models: tuple[RecordedModel, ...]

    @property
    def scoring(self) -> Mapping[str, Any]:
        """How answers are read: what may change without asking any model again."""
        scored: Mapping[str, Any] = self.content["scoring"]
        return scored

    def parse_policy(self, task: str) -> ParsePolicy:
        """Return how tolerantly the answers to a task are read."""
        policy: ParsePolicy = self.scoring["parse_policy"][task]
        return policy

    def task(self, name: str) -> Task:
        """Return a task, built in or of the grid's own."""
        own = self.scoring.get("own_tasks", {})
        return TaskFile.model_validate(own[name]).task() if name in own else get_task(name)

    @property
    def bertscore(self) -> PinnedEncoder | None:
        """Encoder of ``bertscore_f1``, where the grid names one."""
        encoder = self.content["configuration"].get("bertscore")
        if encoder is None:
            return None
        return PinnedEncoder(self.content["bertscore_folder"], encoder["layer"], encoder["encoder_digest"])

    @property
    def json(self) -> bytes:
        """The bytes of the file."""
        return json.dumps(self.content, indent=1).encode()  # unsorted: the order of labels is theirs


def config_of(configuration: Mapping[str, Any]) -> str:
    """Return the name of a configuration's folder."""
    return f"c{digest(configuration)[:16]}"


def record_run(
    plan: GridPlan, models: Sequence[PlannedModel], bertscore: PinnedEncoder | None, run_id: str
) -> RunRecord:
    """Return the record of a planned run."""
    manifests = {name: manifest for model in plan.models for name, manifest in model.datasets.items()}
    content: dict[str, Any] = {
        "schema_version": PLAN_VERSION,
        "run_id": run_id,
        "grid": plan.grid.name,
        "notes": list(plan.grid.notes),
        "scoring": scoring(plan.grid),
        "configuration": {
            "limit": plan.limit,
            "seed": plan.grid.seed,
            "models": {model.key: dict(model.configuration) for model in models},
            **({} if bertscore is None else {"bertscore": bertscore.content}),
        },
        "models": {
            model.key: {
                "family": model.plan.entry.family,
                "parameters_b": model.plan.entry.parameters_b,
                "config": model.config,
                "units": len(model.plan.units()),
                "requests": model.plan.requests,
                **_finetuned(model.plan),
            }
            for model in models
        },
        "unit_posts": {name: unit_posts(manifest, limit=plan.limit) for name, manifest in sorted(manifests.items())},
        "cells": [
            {"model": c.model, "adapter": c.adapter, "setting": c.setting, "task": c.task, "dataset": c.dataset}
            | {"split": c.split, "posts": posts}
            for c, posts in plan.cells().items()
        ],
    }
    if bertscore is not None:
        content["bertscore_folder"] = bertscore.folder
    return parse_record(json.loads(json.dumps(content)), "the plan")


def _finetuned(plan: ModelPlan) -> dict[str, str]:
    """Return what a fine-tuned model is compared with; nothing of one that is not."""
    if not plan.adapters:
        return {}
    return {"base_setting": base_setting(FINETUNED, sees_pictures=plan.entry.sees_pictures)}


def read_record(root: Storage, folder: RunFolder) -> RunRecord:
    """Read a run's plan.json.

    Raises:
        ConfigurationError: There is no such run, or another version of this package wrote it.
    """
    try:
        content = json.loads(root.read(folder.plan))
    except FileNotFoundError as error:
        known = sorted({path.split("/")[1] for path in root.list_files("runs") if path.endswith("/plan.json")})
        raise ConfigurationError(
            f"{root.uri} has no run {folder.run_id!r}. Runs: {', '.join(known) or '(none)'}."
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{root.uri}/{folder.plan}: is no JSON ({error}). Restore it or delete it.") from error
    return parse_record(content, f"{root.uri}/{folder.plan}")


def parse_record(content: Mapping[str, Any], where: str) -> RunRecord:
    """Return a plan.json's content as a record.

    Raises:
        ConfigurationError: Another version of this package wrote it, or a part of it is missing.
    """
    version = content.get("schema_version")
    if version != PLAN_VERSION:
        raise ConfigurationError(
            f"{where}: schema_version is {version}, and this version of mmsoc_ray reads {PLAN_VERSION}. "
            f"Take another run id."
        )
    try:
        return RunRecord(content, content["run_id"], tuple(_model(content, key) for key in content["models"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{where}: {error!r} is missing or of another kind. Restore the file.") from error


def _model(content: Mapping[str, Any], key: str) -> RecordedModel:
    recorded = content["models"][key]
    configuration = content["configuration"]["models"][key]
    asked = {(q["setting"], q["task"], q["dataset"]) for q in configuration["questions"]}
    rows_per_post = {
        dataset: sum(rounds(q["setting"]) for q in configuration["questions"] if q["dataset"] == dataset)
        for dataset in configuration["datasets"]
    }
    units = tuple(
        RecordedUnit(unit_id(dataset, about["split"], shard, row_group), dataset, posts, posts * rows_per_post[dataset])
        for dataset, about in configuration["datasets"].items()
        for shard, units in enumerate(content["unit_posts"][dataset])
        for row_group, posts in enumerate(units)
    )
    cells = {
        Cell(**{field: cell[field] for field in Cell.__dataclass_fields__}): int(cell["posts"])
        for cell in content["cells"]
        if cell["model"] == configuration["model"] and (cell["setting"], cell["task"], cell["dataset"]) in asked
    }
    return RecordedModel(
        key=key,
        name=configuration["model"],
        family=recorded["family"],
        parameters_b=recorded["parameters_b"],
        config=recorded["config"],
        configuration=configuration,
        units=units,
        cells=cells,
        base_setting=recorded.get("base_setting"),
    )
