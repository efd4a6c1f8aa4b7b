"""The encoder of BERTScore as a run pins it: by the digest of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsoc_ray.config import Grid
from mmsoc_ray.models import model_digest

if TYPE_CHECKING:
    from mmsoc_ray.metrics import Encoder


@dataclass(frozen=True)
class PinnedEncoder:
    """An encoder with the digest that the run was planned with.

    Attributes:
        folder: Folder of the encoder, the same on every node.
        layer: Layer whose embeddings are compared.
        digest: Digest of its files.
    """

    folder: str
    layer: int
    digest: str

    @property
    def content(self) -> dict[str, Any]:
        """What tells one encoder from another, as JSON: never where it lies."""
        return {"encoder_digest": self.digest, "layer": self.layer}

    def open(self) -> Encoder:
        """Return the encoder for the metrics.

        Raises:
            ValueError: Another encoder lies in the folder of this node.
        """
        # Its library takes seconds to import, which planning need not wait for.
        from mmsoc_ray.metrics import Encoder

        found = model_digest(Path(self.folder))
        if found != self.digest:
            raise ValueError(
                f"bertscore.encoder: {self.folder} on this node has the digest {found[:12]}, the run was planned with "
                f"{self.digest[:12]}: bring the same encoder to every node"
            )
        return Encoder(self.folder, self.layer)


def pin_encoder(grid: Grid) -> PinnedEncoder | None:
    """Check the encoder that a grid names, and take its digest; None where it names none.

    Raises:
        ConfigurationError: The package or the encoder is not there, or it has no such layer.
    """
    if grid.bertscore is None:
        return None
    from mmsoc_ray.metrics import Encoder

    folder = str(Path(grid.bertscore.encoder).expanduser().absolute())
    Encoder(folder, grid.bertscore.layer).check()
    return PinnedEncoder(folder, grid.bertscore.layer, model_digest(Path(folder)))
