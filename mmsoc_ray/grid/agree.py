"""Agreement of finished runs, and of engines that are asked the same posts. Nothing is reused, nothing is kept."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from mmsoc_ray.data import Storage, open_storage
from mmsoc_ray.engines import Answer, Engine, PreparedPost, Request, open_engine
from mmsoc_ray.engines.agreement import Disagreement, Reference, compare
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.examples import load_pictures, write_pictures
from mmsoc_ray.grid.plan import GridPlan, ModelPlan
from mmsoc_ray.grid.record import RecordedModel, RunRecord, read_record
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.grid.seal import read_predictions
from mmsoc_ray.models import EngineName, ModelEntry, resolve_checkpoint

IDENTITY = ("setting", "task", "post_key", "round")
"""What tells one request from another where two models, or one model twice, answered the same posts."""

ALONE = "transformers-alone"
ENGINES = ("transformers", ALONE, "vllm")
"""What can be asked; ``transformers-alone`` computes each request by itself: no batch, no shared prefix."""

_READ = (*IDENTITY, "prompt", "output", "error", "finish_reason")
_SCRATCH = "agreement"

Identity = tuple[str, str, str, int]


@dataclass(frozen=True)
class Agreement:
    """How far two ways to answer the same requests agree.

    Attributes:
        one: What answered first, for example ``a/demo-llava`` or ``transformers``.
        other: What it is compared with.
        asked: Requests of each setting and task that both answered.
        disagreements: Those that were answered in two ways.
        unmatched: Requests that only one of them has.
    """

    one: str
    other: str
    asked: Mapping[tuple[str, str], int]
    disagreements: tuple[Disagreement, ...]
    unmatched: int = 0

    def same(self, setting: str, task: str) -> int:
        """Return how many requests of a setting and task have identical answers."""
        differ = sum((found.setting, found.task) == (setting, task) for found in self.disagreements)
        return self.asked[setting, task] - differ


@dataclass(frozen=True)
class FinishedRun:
    """A run whose predictions are compared."""

    root: Storage
    folder: RunFolder
    record: RunRecord

    @classmethod
    def open(cls, root_uri: str, run_id: str) -> FinishedRun:
        """Read a run's plan.

        Raises:
            ConfigurationError: There is no such run.
        """
        root, folder = open_storage(root_uri), RunFolder(run_id)
        return cls(root, folder, read_record(root, folder))

    def digest(self, name: str) -> str | None:
        """Return the digest of the checkpoint with which a model answered; None where it has none, or several."""
        datasets = self.model(name).configuration["datasets"].values()
        digests = {about["answerer"].get("model_digest") for about in datasets}
        return digests.pop() if len(digests) == 1 else None

    def model(self, name: str) -> RecordedModel:
        """Return a model of the run.

        Raises:
            ConfigurationError: The run has no such model.
        """
        for model in self.record.models:
            if model.key == name:
                return model
        raise ConfigurationError(
            f"--models: run {self.folder.run_id!r} has no model {name!r}. "
            f"It has: {', '.join(model.key for model in self.record.models)}."
        )

    def rows(self, model: RecordedModel) -> dict[Identity, dict[str, Any]]:
        """Return a model's predictions, as far as they are there, by identity."""
        found: dict[Identity, dict[str, Any]] = {}
        for path in self.root.list_files(self.folder.predictions(model.name, model.config)):
            for row in read_predictions(self.root.read(path), columns=_READ).to_pylist():
                found[row["setting"], row["task"], row["post_key"], row["round"]] = row
        return found


@dataclass(frozen=True)
class Referee:
    """What margins are computed with.

    Attributes:
        reference: Computes them; None where there is none.
        why: Why not.
        posts: By identity, a request with its post as an engine gets it.
    """

    reference: Reference | None
    why: str = ""
    posts: Mapping[Identity, PreparedPost] = field(default_factory=dict)

    def post(self, identity: Identity, prompts: Collection[str]) -> PreparedPost | str:
        """Return the post of a request that was asked with a prompt, or why no margin can be computed for it."""
        if self.reference is None:
            return self.why
        if len(set(prompts)) > 1:
            return "the runs asked with different prompts"
        post = self.posts.get(identity)
        if post is None or post.requests[0].prompt not in prompts:
            return "the grid and its data give another prompt"
        return post


def compare_runs(
    one: FinishedRun,
    other: FinishedRun,
    names: tuple[str, str],
    find_referee: Callable[[Collection[Identity]], Referee],
) -> Agreement:
    """Compare the answers of a model in one run with those of a model in another.

    Args:
        one: A run.
        other: Another run, or the same.
        names: The model in the one, and in the other.
        find_referee: Called once, with the requests that were answered in two ways, where there are any.
    """
    rows = [run.rows(run.model(name)) for run, name in zip((one, other), names, strict=True)]
    common = [identity for identity in rows[0] if identity in rows[1]]
    differing = [identity for identity in common if rows[0][identity]["output"] != rows[1][identity]["output"]]
    referee = find_referee(differing) if differing else Referee(None)
    disagreements: list[Disagreement] = []
    for identity in differing:
        pair = [of_run[identity] for of_run in rows]
        post = referee.post(identity, [row["prompt"] for row in pair])
        said = [_answer(pair[0])], [_answer(pair[1])]
        if isinstance(post, str):
            disagreements += compare([_bare(pair[0])], *said, no_reference=post)
        else:
            disagreements += compare([post], *said, referee.reference)
    labels = [f"{run.folder.run_id}/{name}" for run, name in zip((one, other), names, strict=True)]
    unmatched = sum(len(of_run) - len(common) for of_run in rows)
    asked = Counter((setting, task) for setting, task, _, _ in common)
    return Agreement(labels[0], labels[1], asked, tuple(disagreements), unmatched)


def _bare(row: Mapping[str, Any]) -> PreparedPost:
    """Return the post of a row as far as the row tells."""
    request = Request(row["setting"], row["task"], row["prompt"], False, 0, row["round"])
    return PreparedPost(row["post_key"], None, None, (request,))


def _answer(row: Mapping[str, Any]) -> Answer:
    return Answer(0, 0, row["output"], row["error"], row["finish_reason"])


def compare_answers(
    names: tuple[str, str],
    posts: Sequence[PreparedPost],
    one: Sequence[Answer],
    other: Sequence[Answer],
    reference: Reference,
) -> Agreement:
    """Compare what two engines said to the same posts."""
    asked = Counter((request.setting, request.task) for post in posts for request in post.requests)
    return Agreement(*names, asked, tuple(compare(posts, one, other, reference)))


def ask(name: str, entry: ModelEntry, posts: Sequence[PreparedPost]) -> list[Answer]:
    """Ask an engine in a process of its own, which leaves nothing of it in memory.

    Args:
        name: One of ``ENGINES``.
        entry: The model, its checkpoint at hand.
        posts: What it is asked.

    Raises:
        ConfigurationError: The engine cannot be loaded.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_ask, name, entry, posts).result()


def _ask(name: str, entry: ModelEntry, posts: Sequence[PreparedPost]) -> list[Answer]:
    checkpoint = resolve_checkpoint(entry)
    engine: Engine
    if name == ALONE:
        from mmsoc_ray.engines.transformers import TransformersEngine

        engine = TransformersEngine(checkpoint, entry, alone=True)
    else:
        engine_name: EngineName = "vllm" if name == "vllm" else "transformers"
        engine = open_engine(dataclasses.replace(entry, engine=engine_name), checkpoint)
    answers = list(engine.answer(posts))
    getattr(engine, "close", lambda: None)()  # vLLM's processes would outlive this one
    return answers


def prepared_posts(plan: GridPlan, model: ModelPlan, data: Storage) -> list[PreparedPost]:
    """Return the posts of a model's plan as its engine gets them: decoded, rendered, nothing looked up.

    Only the first round of ``self_improve_<k>``: a later one is made from the answer before it.

    Args:
        plan: The grid's plan.
        model: One of its models.
        data: Root of the datasets.
    """
    from mmsoc_ray.grid.run import open_run, pipeline_of
    from mmsoc_ray.grid.stream import render

    with tempfile.TemporaryDirectory() as scratch:
        root = open_storage(scratch)
        run = open_run(dataclasses.replace(plan, models=(model,)), data, root, _SCRATCH, lambda _: None)
        (planned,) = run.models
        questions = planned.plan.questions
        write_pictures(root, run.folder, run.plan, questions)
        examples = load_pictures(root, run.folder, questions, max_side=model.entry.max_picture_side)
        pipeline = pipeline_of(run, planned)
        posts: list[PreparedPost] = []
        for unit in planned.plan.units():
            rendered = render(pipeline, dataclasses.asdict(unit))
            posts += rendered.prepared(dict(rendered.decode())).askable(examples)[0]
        return posts


def by_identity(posts: Sequence[PreparedPost]) -> Iterator[tuple[Identity, PreparedPost]]:
    """Yield each request of posts as a post of its own, with what tells it from others."""
    for post in posts:
        for request in post.requests:
            identity = request.setting, request.task, post.post_key, request.round
            yield identity, dataclasses.replace(post, requests=(request,))
