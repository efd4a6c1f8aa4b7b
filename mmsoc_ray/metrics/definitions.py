"""What each metric of the results table means, in one sentence: the first line of its function's docstring."""

from __future__ import annotations

import inspect
from importlib import import_module

_OF_TAGS = {"exact_match": "tag_exact_match", "micro_f1": "tag_micro_f1", "macro_f1": "tag_macro_f1"}
_ALIASES = {"ece": "expected_calibration_error", "bertscore_f1": "bertscore"}
_OF_LABELS = {"f1": "F1", "precision": "precision", "recall": "recall"}


def metric_definition(metric: str, *, tags: bool = False) -> str:
    """Return what a metric means; empty where no function of the package bears its name.

    Args:
        metric: Name in the results table, for example ``macro_f1``, ``f1_humorous`` or ``macro_f1@round_2``.
        tags: Whether it scores sets of tags, where some names have a definition of their own.
    """
    package = import_module("mmsoc_ray.metrics")
    metric = metric.partition("@")[0]
    name = _OF_TAGS.get(metric, metric) if tags else _ALIASES.get(metric, metric)
    function = getattr(package, name, None)
    if function is not None:
        line = (inspect.getdoc(function) or "").partition("\n")[0].removeprefix("Return ")
        return line[:1].upper() + line[1:]
    measure, _, label = metric.partition("_")
    if measure in _OF_LABELS and label:
        return f"{_OF_LABELS[measure][:1].upper()}{_OF_LABELS[measure][1:]} of the label {label}, 0 where undefined."
    return ""
