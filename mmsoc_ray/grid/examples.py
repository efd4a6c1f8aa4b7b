"""Few-shot examples of a plan: chosen on the driver, once for all models; their pictures wait beside the run."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from mmsoc_ray.data import PictureError, Post, Storage, decode_picture, read_pictures, read_texts
from mmsoc_ray.errors import ConfigurationError
from mmsoc_ray.grid.plan import GridPlan, ModelPlan, Question
from mmsoc_ray.grid.run_folder import RunFolder
from mmsoc_ray.tasks import Example, ExampleChooser, example, shots

if TYPE_CHECKING:
    from mmsoc_ray.engines.protocol import Picture

_Wanted = tuple[str, str, str, int]
"""(dataset, task, variant, k): what tells the examples of two questions apart."""


def choose_examples(plan: GridPlan, data: Storage, phase: Callable[[str], None]) -> GridPlan:
    """Return the plan with the examples of every few-shot question.

    Reads the texts of each fit split once, and the pictures of the chosen posts where a model is shown them. A chosen
    post without a picture that can be decoded stays an example, as a text.

    Raises:
        ConfigurationError: A fit split has fewer usable posts than a setting takes.
    """
    chosen: dict[_Wanted, tuple[Post, ...]] = {}
    pictures: dict[str, bytes] = {}
    for model in plan.models:
        for dataset, manifest in model.fit.items():
            wanted = {_wanted(q): q for q in model.questions_on(dataset) if shots(q.setting)}
            choosers = {
                key: ExampleChooser(q.definition, shots(q.setting), plan.grid.seed)
                for key, q in wanted.items()
                if key not in chosen
            }
            if choosers:
                phase(f"choosing examples from {dataset}/{manifest.split}")
                for post in read_texts(data, manifest):
                    for chooser in choosers.values():
                        chooser.add(post)
                for key, chooser in choosers.items():
                    chosen[key] = _enough(chooser.chosen(), key, manifest.split)
            if model.entry.several_pictures:
                keys = {post.post_key for key in wanted for post in chosen[key]} - pictures.keys()
                pictures |= read_pictures(data, manifest, keys) if keys else {}
    usable = {key: picture for key, picture in pictures.items() if _can_be_shown(picture)}
    digests = {key: hashlib.sha256(picture).hexdigest() for key, picture in usable.items()}
    return dataclasses.replace(
        plan,
        models=tuple(_with(model, chosen, digests) for model in plan.models),
        example_pictures={digests[key]: picture for key, picture in usable.items()},
    )


def _wanted(question: Question) -> _Wanted:
    return question.dataset, question.task, question.variant, shots(question.setting)


def _with(model: ModelPlan, chosen: Mapping[_Wanted, tuple[Post, ...]], digests: Mapping[str, str]) -> ModelPlan:
    shown = digests if model.entry.several_pictures else {}

    def examples(question: Question) -> tuple[Example, ...]:
        return tuple(
            example(question.definition, post, question.variant, image_sha256=shown.get(post.post_key))
            for post in chosen.get(_wanted(question), ())
        )

    return dataclasses.replace(
        model, questions=tuple(dataclasses.replace(q, examples=examples(q)) for q in model.questions)
    )


def _can_be_shown(picture: bytes) -> bool:
    try:
        decode_picture(picture, max_side=1)
    except PictureError:
        return False
    return True


def _enough(posts: tuple[Post, ...], wanted: _Wanted, split: str) -> tuple[Post, ...]:
    dataset, task, _, count = wanted
    if len(posts) < count:
        raise ConfigurationError(
            f"datasets.{dataset}.fit_split: {split!r} has {len(posts)} posts with a label that the task {task} "
            f"knows, and few_shot_{count} takes {count} of them. Take a smaller number or another fit_split."
        )
    return posts


def write_pictures(root: Storage, folder: RunFolder, plan: GridPlan, questions: Iterable[Question]) -> None:
    """Lay the example pictures of a model's questions beside the run, for its actors; those that are there stay."""
    for sha256 in _shown(questions):
        root.write_once(folder.example_picture(sha256), plan.example_pictures[sha256])


def load_pictures(
    root: Storage, folder: RunFolder, questions: Iterable[Question], *, max_side: int
) -> dict[str, Picture]:
    """Return the example pictures of a model's questions, decoded and bounded once for the actor that calls it.

    Raises:
        RuntimeError: What lies there is not the picture that the run was planned with.
    """
    pictures: dict[str, Picture] = {}
    for sha256 in _shown(questions):
        file = folder.example_picture(sha256)
        picture = root.read(file)
        if hashlib.sha256(picture).hexdigest() != sha256:
            raise RuntimeError(f"{root.uri}/{file} is not the picture of its digest: remove it and start the run again")
        pictures[sha256] = decode_picture(picture, max_side=max_side)
    return pictures


def _shown(questions: Iterable[Question]) -> list[str]:
    return sorted({shown.image_sha256 for q in questions for shown in q.examples if shown.image_sha256})
