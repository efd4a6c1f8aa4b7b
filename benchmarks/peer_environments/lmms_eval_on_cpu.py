"""Starts lmms-eval on a machine whose torchvision was built for CUDA: its compiled operators do not load there.

lmms-eval imports torchvision, which refuses because the operator `nms` is not registered. No benchmark here calls it.
"""

import sys

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        torch.library.define(f"torchvision::{operator}", signature)

from lmms_eval.__main__ import cli_evaluate

cli_evaluate()
