"""Names that a user gives to what a grid or a recipe holds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
"""Names become parts of file paths: letters, digits, dot, hyphen and underscore."""
