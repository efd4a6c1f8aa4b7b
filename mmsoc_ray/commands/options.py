"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsoc_ray.errors import ConfigurationError

if TYPE_CHECKING:
    from mmsoc_ray.grid import ReusePolicy


def _use_endpoint(url: str | None) -> str | None:
    if url is not None:
        from mmsoc_ray.data import use_endpoint

        use_endpoint(url)
    return url


GridArgument = Annotated[Path, typer.Argument(help="Grid file (YAML).", metavar="GRID")]
ModelsOption = Annotated[str | None, typer.Option("--models", help="Only these models, separated by commas.")]
TasksOption = Annotated[str | None, typer.Option("--tasks", help="Only these tasks, separated by commas.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Prepared data: a folder or s3://BUCKET/PREFIX, instead of the grid's.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", help="Only the first N posts of each dataset.")]
RunIdOption = Annotated[str | None, typer.Option("--run-id", help="Name of the run; by default that of the grid.")]
OutputOption = Annotated[str, typer.Option("--output", help="Output root: a folder or s3://BUCKET/PREFIX.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Ray cluster to join; by default $RAY_ADDRESS, else Ray starts here.")
]
RunArgument = Annotated[str, typer.Argument(help="<root>/runs/<run_id>, or a run id with --output.", metavar="RUN")]


def split_run(run: str, output: str) -> tuple[str, str]:
    """Return output root and run id of a RUN on the command line."""
    root, slash, run_id = run.rstrip("/").rpartition("/runs/")
    return (root, run_id) if slash else (output, run)


EndpointOption = Annotated[
    str | None,
    typer.Option("--s3-endpoint", help="Address of an S3 server other than Amazon's.", callback=_use_endpoint),
]
ReuseOption = Annotated[
    str,
    typer.Option(
        "--reuse",
        metavar="POLICY",
        help="Answers that earlier runs below --output hold are taken over: those of the same engine version "
        "(same_version), of any version (any), or none.",
    ),
]


def names(option: str | None) -> tuple[str, ...] | None:
    """Return the names of ``--models`` or ``--tasks``; None where the option is not given.

    Raises:
        ConfigurationError: It names nothing.
    """
    if option is None:
        return None
    found = tuple(name.strip() for name in option.split(",") if name.strip())
    if not found:
        raise ConfigurationError("--models and --tasks take names separated by commas, for example humor,sarcasm.")
    return found


def reuse_policy(reuse: str) -> ReusePolicy:
    """Return the policy of ``--reuse``.

    Raises:
        ConfigurationError: There is no such policy.
    """
    from mmsoc_ray.grid import ReusePolicy

    if reuse not in list(ReusePolicy):
        raise ConfigurationError(f"--reuse {reuse!r}: allowed are {', '.join(ReusePolicy)}.")
    return ReusePolicy(reuse)
