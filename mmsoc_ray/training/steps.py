"""From the first step, or from a checkpoint, to the last: when to check, when to keep, when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mmsoc_ray.training.board import News
from mmsoc_ray.training.curves import Checked, Curves
from mmsoc_ray.training.loop import Step, Training


def run_steps(
    training: Training,
    curves: Curves,
    batches: Iterable[Step],
    *,
    check: Callable[[], Checked] | None,
    keep: Callable[[bool], None],
    say: Callable[[News], None],
) -> None:
    """Take all steps that are left.

    All workers take the same decisions at the same step, since all that they hang on is summed over the workers.

    Args:
        training: The training.
        curves: What it has told so far.
        batches: This worker's samples of every step from ``training.step`` on.
        check: Asks the validation posts; None where the recipe checks on nothing.
        keep: Writes a checkpoint; told whether it is the last one.
        say: Tells of a point.

    Raises:
        TrainingError: As ``Training.take_step``.
    """
    recipe = training.recipe
    if training.finished or curves.stopped:  # all steps were taken before, and the adapter not yet stored
        keep(True)
        return
    for batch in batches:
        curves.add(training.take_step(batch))
        checking = recipe.validation is not None and training.step % recipe.validation.every_steps == 0
        if check is not None and (checking or training.finished):
            curves.check(check)
            say(curves.news)
        elif curves.due:
            curves.point()
            say(curves.news)
        over = training.finished or curves.stopped
        if over or training.step % recipe.checkpoint_every == 0:
            keep(over)
        if over:
            return
    raise RuntimeError(f"the samples ended at step {training.step} of {training.total}")
