"""A feed of a few batches for tests of the loop; workers share its rows as they share the real feed's samples."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Batch:
    step: int
    micro_batches: tuple
    samples: int
    answer_tokens: int
    epoch: int = 0


def batch_of(step, micro_batches):
    answers = sum(int((micro["labels"][:, 1:] != -100).sum()) for micro in micro_batches)
    return Batch(step, tuple(micro_batches), sum(len(micro["labels"]) for micro in micro_batches), answers)


def rows(micro):
    """Cut a batch into batches of one row."""
    count = len(micro["labels"])
    return [{name: tensor.chunk(count)[row] for name, tensor in micro.items()} for row in range(count)]


def feed(make, architecture, steps, *, first=0, rank=0, workers=1, cut=False):
    """Yield steps of two rows each; the last has one row."""
    for step in range(first, steps):
        micro = make(architecture, seed=step)
        alone = rows(micro)[: 1 if step == steps - 1 else None]
        mine = alone[rank::workers]
        whole = {name: torch.cat([row[name] for row in mine]) for name in micro} if mine else None
        yield batch_of(step, mine if cut or not mine else [whole])
