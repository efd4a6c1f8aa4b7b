"""Where a run's files stand: the paths of the run directory, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmsoc_ray.errors import ConfigurationError

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class RunFolder:
    """Paths below an output root.

    Attributes:
        run_id: The run: letters, digits, dot, hyphen, underscore; at least one letter, since readers of the results
            derive the column from folder names, where digits alone would become a number.
    """

    run_id: str

    def __post_init__(self) -> None:
        if not self.is_run_id(self.run_id):
            raise ConfigurationError(
                f"--run-id {self.run_id!r}: use letters, digits, '.', '-' and '_', with at least one letter, "
                f"for example nightly-2026-11-22."
            )

    @staticmethod
    def is_run_id(name: str) -> bool:
        """Whether a run can have this id."""
        return bool(_RUN_ID.fullmatch(name) and re.search(r"[A-Za-z]", name))

    @property
    def root(self) -> str:
        """Folder of the run."""
        return f"runs/{self.run_id}"

    @property
    def plan(self) -> str:
        """The plan, written first."""
        return f"{self.root}/plan.json"

    @property
    def stats(self) -> str:
        """Folder of what its processes did with their time; nothing else rests on it."""
        return f"{self.root}/stats"

    def example_picture(self, sha256: str) -> str:
        """File of an example picture as it came, named by its digest."""
        return f"{self.root}/examples/{sha256}"

    def model(self, model: str, config: str) -> str:
        """Folder of one model's configuration."""
        return f"{self.root}/model={model}/config={config}"

    def predictions(self, model: str, config: str) -> str:
        """Folder of its units' files."""
        return f"{self.model(model, config)}/predictions"

    def unit(self, model: str, config: str, unit_id: str) -> str:
        """File of one unit's predictions."""
        return f"{self.predictions(model, config)}/{unit_id}.parquet"

    def attempts(self, model: str, config: str) -> str:
        """Folder of what its engines were asked, and of posts that were asked alone."""
        return f"{self.model(model, config)}/attempts"

    def seal(self, model: str, config: str) -> str:
        """The marker that all units are there, written last."""
        return f"{self.model(model, config)}/_SUCCESS.json"

    def checksums(self, model: str, config: str) -> str:
        """SHA-256 of its units' files, written just before the marker."""
        return f"{self.model(model, config)}/checksums.json"

    @property
    def cells(self) -> str:
        """Folder of the cells' scores."""
        return f"{self.root}/cells"

    @property
    def comparisons(self) -> str:
        """File of what its fine-tuned cells gained, where it has some."""
        return f"{self.root}/comparisons.json"

    @property
    def results(self) -> str:
        """File of the run's part of the results table."""
        return f"results/run_id={self.run_id}/part-0.parquet"

    @property
    def manifest(self) -> str:
        """The manifest that readers follow."""
        return f"manifests/{self.run_id}.json"
