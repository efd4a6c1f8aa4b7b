"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer


def _use_endpoint(url: str | None) -> str | None:
    if url is not None:
        from mmsoc_ray.data import use_endpoint

        use_endpoint(url)
    return url


EndpointOption = Annotated[
    str | None,
    typer.Option("--s3-endpoint", help="Address of an S3 server other than Amazon's.", callback=_use_endpoint),
]
