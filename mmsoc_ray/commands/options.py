"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer


def _use_endpoint(url: str | None) -> str | None:
    if url is not None:
        from mmsoc_ray.data import use_endpoint

        use_endpoint(url)
    return url


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
